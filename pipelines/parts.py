"""Programs that run together until one of them ends or all are stopped, with all that they have started."""

import ctypes
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil

_SECONDS_TO_START = 300
_SECONDS_TO_STOP = 30
# What a killed part leaves may be a stage, which has ten seconds to write its checkpoint.
_SECONDS_FOR_TASKS = 15
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class Parts:
    """The programs by name. Each has a log of its own, and ends when this process does."""

    def __init__(self, environment: dict[str, str], logs: Path) -> None:
        self._environment, self._logs = environment, logs
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        if sys.platform == "linux":
            # Become the parent of what a killed part leaves behind, so that stopping finds it.
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def start(self, name: str, words: list[str]) -> None:
        """Start one in a process group of its own, so that Ctrl-C reaches it by way of us alone."""
        with (self._logs / f"{name}.log").open("ab") as file:
            self._children[name] = subprocess.Popen(
                words,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                process_group=0,
                # No thread runs here, which is what makes it safe.
                preexec_fn=_die_with_parent,  # noqa: PLW1509
            )

    def wait_for(self, url: str) -> None:
        """Return when the URL answers. Ends the program when it does not, or when a part has ended."""
        deadline = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < deadline:
            self.check()
            try:
                with urllib.request.urlopen(url, timeout=5):
                    return
            except OSError:
                time.sleep(0.5)
        sys.exit(f"error: {url} does not answer after {_SECONDS_TO_START} s")

    def check(self) -> None:
        """End the program when a part has ended."""
        for name, child in self._children.items():
            if child.poll() is not None:
                sys.exit(f"error: {name} ended with status {child.returncode}; its log says why")

    def stop(self) -> None:
        """Stop all at once; then whatever they have started and left, first asked, then made."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for child in self._children.values():
            child.terminate()
        deadline = time.monotonic() + _SECONDS_TO_STOP
        for child in self._children.values():
            with suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))
        left = psutil.Process().children(recursive=True)
        for one in left:
            with suppress(psutil.NoSuchProcess):
                one.terminate()
        for one in psutil.wait_procs(left, timeout=_SECONDS_FOR_TASKS)[1]:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
