"""Other programs: started with the right environment, and ended with the worker."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines.worker.job import FailedError, RefusedError
from pipelines.worker.lines import login_refused

# Between SIGTERM and SIGKILL: time to write a checkpoint.
_SECONDS_TO_STOP = 10
_PR_SET_PDEATHSIG = 1


class Stopped(BaseException):
    """The worker received SIGTERM."""


def environment() -> dict[str, str]:
    """This process's environment, with this Python first and repositories of other users allowed.

    A container's user is seldom the owner of the mounted repository; git refuses that as dubious. A clone
    starts a second git in the repository, which ignores these variables: the images allow it there as well
    (docker/stage.Dockerfile).
    """
    count = int(os.environ.get("GIT_CONFIG_COUNT", "0"))
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "DVC_NO_ANALYTICS": "1",
        # Nobody answers.
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(count + 1),
        f"GIT_CONFIG_KEY_{count}": "safe.directory",
        f"GIT_CONFIG_VALUE_{count}": "*",
    }


def git(folder: Path, *words: str) -> str:
    """Run git in a folder and return its output. Raises as `output` does."""
    return output(["git", *words], folder, f"git {words[0]}")


def output(words: Sequence[str], folder: Path, name: str) -> str:
    """Run a program and return its output.

    Args:
        words: The program and its arguments.
        folder: Where it runs.
        name: What to call it in an error.

    Returns:
        Standard output.

    Raises:
        RefusedError: A server refused the login: a retry meets the same answer.
        FailedError: The program failed otherwise.
    """
    # A file's name may be no UTF-8.
    done = subprocess.run(
        words,
        cwd=folder,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
    )
    if done.returncode:
        complaint = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise (RefusedError if login_refused(complaint) else FailedError)(f"{name}: {complaint}")
    return done.stdout


def stream(
    words: Sequence[str], folder: Path, variables: Mapping[str, str], see: Callable[[str], None]
) -> int:
    """Run a program, pass each line of its output to `see` at once; return its exit status.

    It is in the worker's process group: a signal to the group ends it, even after the worker's end.
    """
    with subprocess.Popen(
        words,
        cwd=folder,
        env=environment() | dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                see(line.rstrip("\n"))
        except Stopped:
            os.killpg(0, signal.SIGTERM)
            signal.alarm(_SECONDS_TO_STOP)
            # To the end of the pipe: the stage has it open, too, and may run some seconds longer than DVC.
            for line in process.stdout:
                see(line.rstrip("\n"))
            signal.alarm(0)
            raise
    return process.returncode


@contextmanager
def stoppable() -> Iterator[None]:
    """Lead a process group; inside, SIGTERM and the end of the parent process raise Stopped, once."""
    if os.getpid() != os.getpgid(0):
        os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Stopped

    def give_up(*_: object) -> None:
        os.killpg(0, signal.SIGKILL)

    before = [signal.signal(signal.SIGTERM, stop), signal.signal(signal.SIGALRM, give_up)]
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGALRM, before[1])
