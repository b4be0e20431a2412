"""Several processes of one command: their ranks, their end, their exit status."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from stages.common import launcher
from stages.common.errors import TRANSIENT, UsageError
from stages.common.ranks import PROCESSES
from tests.paths import ROOT

# What each rank does, as Python; `wait` ends at SIGTERM, `hold` at SIGKILL alone.
BEFORE = """
import os, signal, sys, time
from stages.common import launcher, ranks
launcher.PATIENCE_SECONDS = 1.0
launcher.relaunch()
rank = ranks.read().rank
def wait():
    signal.pause()
def hold():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True: signal.pause()
"""


def start(work: str, processes: str = "2") -> "subprocess.Popen[str]":
    """Start a program that launches itself."""
    environment = os.environ | {launcher.VARIABLE: processes, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", f"{BEFORE}\n{work}"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(process: "subprocess.Popen[str]", count: int) -> list[psutil.Process]:
    """The processes that the launcher has started, as soon as there are so many."""
    parent = psutil.Process(process.pid)
    while len(started := parent.children()) < count:
        assert process.poll() is None
    return started


def test_each_process_has_its_rank_and_arguments() -> None:
    out, _ = start("print(f'{rank} of {ranks.read().count}\\n', end='', flush=True)", "3").communicate(
        timeout=60
    )
    assert sorted(out.splitlines()) == ["0 of 3", "1 of 3", "2 of 3"]


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("sys.exit(1)", 1),
        ("sys.exit(75)", 75),
        ("os.kill(os.getpid(), signal.SIGKILL)", TRANSIENT),
        # As JAX ends a process that has lost another one.
        ("os.abort()", TRANSIENT),
        ("sys.exit(0)", 0),
    ],
)
def test_the_first_to_fail_ends_the_others_and_gives_the_status(end: str, status: int) -> None:
    work = f"{end} if rank == 1 else {'wait()' if status else 'None'}"
    process = start(work)
    _, log = process.communicate(timeout=60)
    assert process.returncode == status
    assert ("rank 1 was ended by SIG" in log) == (status == TRANSIENT and "sys.exit" not in end)
    assert "rank 0 was" not in log


def test_a_rank_that_holds_on_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "PATIENCE_SECONDS", 0.2)
    work = f"{BEFORE}\nsys.exit(1) if rank == 1 else hold()"
    started = time.monotonic()
    assert launcher.run([sys.executable, "-c", work], 2) == 1
    assert time.monotonic() - started < 30


def test_sigterm_reaches_all_ranks() -> None:
    process = start("signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); print(flush=True); wait()")
    assert process.stdout is not None
    for _ in range(2):
        process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == TRANSIENT


def test_two_signals_at_once_are_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second request kills the ranks, which may be writing a checkpoint."""
    with launcher._noting_sigterm() as requested:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert len(requested) == 1
        monkeypatch.setattr(launcher, "SECONDS_OF_ONE_REQUEST", 0.0)
        signal.raise_signal(signal.SIGTERM)
        assert len(requested) == 2


def test_after_sigterm_a_rank_may_write_its_checkpoint_for_longer_than_the_others() -> None:
    work = (
        "def stop(*_):\n"
        "    if rank == 0:\n        time.sleep(3 * launcher.PATIENCE_SECONDS)\n        print('wrote')\n"
        "    sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, stop)\nprint(flush=True)\nwait()"
    )
    process = start(work)
    assert process.stdout is not None
    for _ in range(2):
        process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert (out, process.returncode) == ("wrote\n", TRANSIENT)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_no_rank_outlives_a_killed_launcher() -> None:
    process = start("print(flush=True); wait()")
    assert process.stdout is not None
    for _ in range(2):
        process.stdout.readline()
    ranks_started = children(process, 2)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(ranks_started, timeout=30)
    assert alive == []


@pytest.mark.parametrize("text", ["0", "two", "-1"])
def test_a_wrong_number_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(launcher.VARIABLE, text)
    with pytest.raises(UsageError, match="must be a number of processes"):
        launcher.relaunch()


def test_one_process_is_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(launcher.VARIABLE, "1")
    monkeypatch.delenv(PROCESSES, raising=False)
    launcher.relaunch()
