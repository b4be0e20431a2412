"""The stages' environment on this host: nothing to build, for trying out and for one machine."""

import json
import logging
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipelines.config import CODE, Config
from pipelines.runners import COMMAND, Work

log = logging.getLogger(__name__)
# The worker gives its stage ten seconds to write a checkpoint.
_SECONDS_TO_STOP = 15


class Process:
    """A child of the task, in a process group of its own.

    Limits: `cpu`, `memory`, `gpu` and `image` of a stage's meta are for the other runners.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._started: subprocess.Popen[str] | None = None

    def run(self, work: Work, context: Any) -> dict[str, Any] | None:
        """Run the worker as a child; whatever is left of its group when it ends is killed."""
        result = Path(self._config.state) / "results" / f"{work.name}.json"
        result.unlink(missing_ok=True)
        with subprocess.Popen(
            [self._config.python, *COMMAND],
            cwd=CODE,
            env=_inherited() | work.variables | {"CONVOY_RESULT": str(result)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
        ) as self._started:
            assert self._started.stdout is not None
            for line in self._started.stdout:
                log.info("%s", line.rstrip("\n"))
        _signal(self._started.pid, signal.SIGKILL)
        return json.loads(result.read_text(encoding="utf-8")) if result.exists() else None

    def cancel(self) -> None:
        """Ask the worker to stop its stage and itself; after a while, make it."""
        if self._started is None:
            return
        _signal(self._started.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._started.wait(_SECONDS_TO_STOP)
        _signal(self._started.pid, signal.SIGKILL)


def create(config: Config) -> Process:
    """The runner, for one work."""
    return Process(config)


def _inherited() -> dict[str, str]:
    """This process's environment without Airflow's: it holds keys and passwords."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "CONVOY_"))}


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)
