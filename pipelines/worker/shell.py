"""Other programs, started so that they end with the worker and with what they need around them."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines.worker.job import FailedError

# Between the request to stop and the order to: time to write a checkpoint.
_SECONDS_TO_STOP = 10
_PR_SET_PDEATHSIG = 1


class Stopped(BaseException):
    """SIGTERM came."""


def environment() -> dict[str, str]:
    """This process's environment, with this Python first and repositories of other users allowed.

    A container's user seldom is the one that the mounted repository belongs to; git calls that dubious.
    """
    count = int(os.environ.get("GIT_CONFIG_COUNT", "0"))
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "DVC_NO_ANALYTICS": "1",
        "GIT_CONFIG_COUNT": str(count + 1),
        f"GIT_CONFIG_KEY_{count}": "safe.directory",
        f"GIT_CONFIG_VALUE_{count}": "*",
    }


def git(folder: Path, *words: str) -> str:
    """What git says in a folder. Raises FailedError with its complaint."""
    done = subprocess.run(
        ["git", *words], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise FailedError(
            f"git {words[0]}: {' '.join(done.stderr.split()) or f'exit status {done.returncode}'}"
        )
    return done.stdout


def stream(
    words: Sequence[str], folder: Path, variables: Mapping[str, str], see: Callable[[str], None]
) -> int:
    """Run a program, show each line it says to `see` at once; return its exit status.

    It shares the worker's process group, so whoever ends the group ends it, even once the worker is dead.
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
            # To the end of the pipe: the stage holds it too, and may outlive DVC for some seconds.
            for line in process.stdout:
                see(line.rstrip("\n"))
            signal.alarm(0)
            raise
    return process.returncode


@contextmanager
def stoppable() -> Iterator[None]:
    """Lead a process group of one's own; inside, SIGTERM or the starter's death raise Stopped, once."""
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
