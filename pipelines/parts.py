"""Programs that run together: all are stopped when one of them ends, with the processes that they started."""

import ctypes
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

_SECONDS_TO_START = 300
# A stage has ten seconds to write its checkpoint.
_SECONDS_TO_STOP = 15
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class Parts:
    """The programs by name. Each has a log of its own, and ends when this process does."""

    def __init__(self, environment: dict[str, str], logs: Path) -> None:
        self._environment, self._logs = environment, logs
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._last: set[int] = set()
        if sys.platform == "linux":
            # Become the parent of orphans, so that `stop` can end them.
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def start(
        self,
        name: str,
        words: list[str],
        variables: Mapping[str, str] | None = None,
        *,
        ends_last: bool = False,
    ) -> None:
        """Start a program in a process group of its own, so that Ctrl-C reaches only this process.

        Args:
            name: What messages and the log call it.
            words: The command.
            variables: Of its environment, beside those of all programs.
            ends_last: Stop it after all others, which need it until their end.
        """
        with (self._logs / f"{name}.log").open("ab") as file:
            self._children[name] = subprocess.Popen(
                words,
                env=self._environment | dict(variables or {}),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                process_group=0,
                # Safe, because this process has no other thread.
                preexec_fn=_die_with_parent,  # noqa: PLW1509
            )
        if ends_last:
            self._last.add(self._children[name].pid)

    def wait_until(self, ready: Callable[[], bool], name: str) -> None:
        """Wait until something is ready; exit where it is not in time, or a program ended."""
        deadline = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < deadline:
            self.check()
            if ready():
                return
            time.sleep(0.2)
        sys.exit(f"error: {name} is not ready after {_SECONDS_TO_START} s")

    def wait_for(self, url: str, ready: Callable[[bytes], bool] = lambda _: True) -> None:
        """Wait until a URL answers and its text is `ready`; exit where it does not, or a program ended."""

        def answers() -> bool:
            try:
                with urllib.request.urlopen(url, timeout=5) as response:
                    return ready(response.read())
            except OSError:
                return False

        self.wait_until(answers, url)

    def check(self) -> None:
        """Exit where a program has ended."""
        for name, child in self._children.items():
            if child.poll() is not None:
                sys.exit(f"error: {name} ended with status {child.returncode}; see its log")

    def stop(self) -> None:
        """Stop all programs with all that they have started, then the programs that end last.

        Tasks are stopped at once with the programs: a scheduler would wait for its tasks, and a task for an
        API server that has ended.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        programs = psutil.Process().children()
        _stop([each for child in programs if child.pid not in self._last for each in _family(child)])
        _stop([child for child in programs if child.pid in self._last])
        # Orphans, of which this process became the parent meanwhile.
        _stop(psutil.Process().children(recursive=True))


def _family(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that it has started."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _stop(processes: Collection[psutil.Process]) -> None:
    """Send SIGTERM to all; after a while, SIGKILL to those that are left."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(processes, timeout=_SECONDS_TO_STOP)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
