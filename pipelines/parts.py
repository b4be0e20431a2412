"""Programs that run together: all are stopped when one of them ends, with the processes that they started."""

import ctypes
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

_SECONDS_TO_START = 300
_SECONDS_TO_STOP = 30
# An orphan may be a stage, which has ten seconds to write its checkpoint.
_SECONDS_FOR_TASKS = 15
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class Parts:
    """The programs by name. Each has a log of its own, and ends when this process does."""

    def __init__(self, environment: dict[str, str], logs: Path) -> None:
        self._environment, self._logs = environment, logs
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        if sys.platform == "linux":
            # Become the parent of orphans, so that `stop` can end them.
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def start(self, name: str, words: list[str]) -> None:
        """Start a program in a process group of its own, so that Ctrl-C reaches only this process."""
        with (self._logs / f"{name}.log").open("ab") as file:
            self._children[name] = subprocess.Popen(
                words,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                process_group=0,
                # Safe, because this process has no other thread.
                preexec_fn=_die_with_parent,  # noqa: PLW1509
            )

    def wait_for(self, url: str, ready: Callable[[bytes], bool] = lambda _: True) -> None:
        """Wait until a URL answers and its text is `ready`; exit where it does not, or a program ended."""
        deadline = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < deadline:
            self.check()
            try:
                with urllib.request.urlopen(url, timeout=5) as response:
                    if ready(response.read()):
                        return
            except OSError:
                pass
            time.sleep(0.5)
        sys.exit(f"error: {url} is not ready after {_SECONDS_TO_START} s")

    def check(self) -> None:
        """Exit where a program has ended."""
        for name, child in self._children.items():
            if child.poll() is not None:
                sys.exit(f"error: {name} ended with status {child.returncode}; see its log")

    def stop(self) -> None:
        """Terminate all programs, then their orphans: SIGTERM, then SIGKILL."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for child in self._children.values():
            child.terminate()
        deadline = time.monotonic() + _SECONDS_TO_STOP
        for child in self._children.values():
            with suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))
        orphans = psutil.Process().children(recursive=True)
        for orphan in orphans:
            with suppress(psutil.NoSuchProcess):
                orphan.terminate()
        for orphan in psutil.wait_procs(orphans, timeout=_SECONDS_FOR_TASKS)[1]:
            with suppress(psutil.NoSuchProcess):
                orphan.kill()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
