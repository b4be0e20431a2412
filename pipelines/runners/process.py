"""A process on this host, in the stages' environment: nothing to build; for trials and for one machine."""

import json
import logging
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipelines.config import CODE, Config
from pipelines.runners import COMMAND, Work, _ended

log = logging.getLogger(__name__)
# The worker gives its stage ten seconds to write a checkpoint.
_SECONDS_TO_STOP = 15


class Process:
    """A child of the task, in a process group of its own.

    The `cpu`, `memory`, `gpu` and `image` of a stage's meta are for the other runners. `nodes` are processes
    of this host, which the stage starts itself (`stages/common/launcher.py`).
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._process: subprocess.Popen[str] | None = None

    def run(self, work: Work, context: Any) -> dict[str, Any] | None:
        """Run the worker as a child; kill what remains of its group when it ends. See `Runner.run`."""
        path = Path(self._config.state) / "results" / f"{work.name}.json"
        path.unlink(missing_ok=True)
        tail = _ended.Tail()
        try:
            self._process = self._started(work, path)
        except (FileNotFoundError, PermissionError) as error:
            return _ended.not_started("process", f"{error.filename}: {error.strerror}")
        with self._process:
            assert self._process.stdout is not None
            try:
                for line in self._process.stdout:
                    tail.add(line)
                    log.info("%s", line.rstrip("\n"))
            except BaseException:
                # The end of `with` would wait until the worker has done all its work.
                self.cancel()
                raise
        _signal(self._process.pid, signal.SIGKILL)
        if path.exists():
            result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return result
        # Of a signal, as a shell and a container have it.
        code = self._process.returncode
        status = 128 - code if code < 0 else code
        return _ended.result(status, tail, out_of_memory=False, limit="")

    def _started(self, work: Work, result: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self._config.python, *COMMAND],
            cwd=CODE,
            env=_inherited() | work.variables | _nodes(work) | {"CONVOY_RESULT": str(result)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
        )

    def cancel(self) -> None:
        """Send SIGTERM to the worker, which stops its stage and itself; after a while, SIGKILL to all."""
        if self._process is None:
            return
        # Not to its group: the worker does that, and a stage that gets the signal twice would end at once.
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_STOP)
        _signal(self._process.pid, signal.SIGKILL)


def create(config: Config) -> Process:
    """The runner, for one work."""
    return Process(config)


def _inherited() -> dict[str, str]:
    """This process's environment without Airflow's: it holds keys and passwords."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "CONVOY_"))}


def _nodes(work: Work) -> dict[str, str]:
    """What says as how many processes the stage runs; empty for one: the stages' own default."""
    nodes = work.settings.nodes
    return {"CONVOY_PROCESSES": str(nodes)} if nodes > 1 else {}


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)
