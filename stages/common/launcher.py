"""Starts a command as several processes of this host that train together: CONVOY_PROCESSES=2.

Each process is the same command with its rank in the environment (ranks.py). One that fails ends all: the
others would wait for it in the next step.
"""

import ctypes
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from stages.common import events, log
from stages.common.errors import (
    INTERRUPTED,
    SECONDS_OF_ONE_REQUEST,
    TERMINATED,
    TRANSIENT,
    UsageError,
)
from stages.common.ranks import PROCESSES, Ranks

VARIABLE = "CONVOY_PROCESSES"
# What the others have to end by themselves when one has failed, and between SIGTERM and SIGKILL. A rank that
# waits for the failed one in a library's code does not see SIGTERM.
PATIENCE_SECONDS = 10.0
_SECONDS_TO_KILL = 5.0
_PAUSE_SECONDS = 0.05
# What a shell reports of a process that ended by a signal. Statuses of Convoy's own are not among them.
_BY_SIGNAL = 128
_PR_SET_PDEATHSIG = 1


def relaunch() -> None:
    """Run this process's command as CONVOY_PROCESSES processes, and end with their exit status.

    Returns where the variable asks for one process, or where this process is one of several already.

    Raises:
        UsageError: the variable is no number above 0.
        SystemExit: all processes have ended.
    """
    text = os.environ.get(VARIABLE, "1") or "1"
    if not text.isdecimal() or not int(text):
        raise UsageError(f"{VARIABLE} is {text!r}; must be a number of processes, 1 or more")
    if int(text) == 1:
        return
    if PROCESSES in os.environ:
        _end_with_parent()
        return
    sys.exit(run([sys.executable, *sys.orig_argv[1:]], int(text)))


def run(command: Sequence[str], count: int) -> int:
    """Run a command as `count` processes and wait for all of them.

    Returns:
        0 where all end with 0; else the exit status of the first that failed: 75, transient, where a signal
        ended it. 134 (SIGABRT) is how JAX ends a process that has lost another one.
    """
    coordinator = f"127.0.0.1:{free_port()}"
    with _noting_sigterm() as requested:
        processes = [_start(command, Ranks(rank, count, coordinator)) for rank in range(count)]
        signals = [signal.SIGTERM, signal.SIGKILL]
        status, deadline = 0, math.inf
        in_order: set[int] = set()
        while True:
            running = [process for process in processes if process.poll() is None]
            failed = [
                (rank, process.returncode) for rank, process in enumerate(processes) if process.returncode
            ]
            if failed and not status:
                status = _meaning(*failed[0])
            if {returned for _, returned in failed} - in_order:
                deadline = min(deadline, time.monotonic() + PATIENCE_SECONDS)
            if not running:
                return status
            if requested or time.monotonic() > deadline:
                # When SIGTERM came from outside, a training takes its time to write a checkpoint; ranks that
                # write none end earlier.
                if requested:
                    deadline, in_order = math.inf, {TRANSIENT}
                else:
                    deadline = time.monotonic() + _SECONDS_TO_KILL
                _signal(running, signals[0])
                requested.clear()
                signals = signals[-1:]
            time.sleep(_PAUSE_SECONDS)


def _start(command: Sequence[str], ranks: Ranks) -> "subprocess.Popen[bytes]":
    environment = os.environ | ranks.environment()
    if ranks.rank:
        # `make run` shows what one process does.
        environment.pop(events.VARIABLE, None)
    return subprocess.Popen(command, env=environment)


def _end_with_parent() -> None:
    """Let the kernel kill this process when the launcher has been killed; only Linux does that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _signal(processes: "Sequence[subprocess.Popen[bytes]]", number: signal.Signals) -> None:
    for process in processes:
        process.send_signal(number)


def _meaning(rank: int, status: int) -> int:
    """The exit status that a rank's end means; a signal's is reported, and transient."""
    number = -status if status < 0 else status - _BY_SIGNAL
    if number <= 0 or status in (INTERRUPTED, TERMINATED):
        return status
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    log.error(f"rank {rank} was ended by {name}; the same command resumes at the last checkpoint")
    return TRANSIENT


def free_port() -> int:
    """A port of the loopback address that no program listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@contextmanager
def _noting_sigterm() -> Iterator[list[int]]:
    """A list that is filled when SIGTERM or Ctrl-C comes; a terminal sends Ctrl-C to all processes itself."""
    received: list[int] = []
    first = -math.inf

    def note(number: int, _: object) -> None:
        nonlocal first
        if time.monotonic() - first > SECONDS_OF_ONE_REQUEST:
            first = time.monotonic()
            received.append(number)

    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = [signal.signal(number, note) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
