"""The lock that tells running tasks from a clean-up: tasks share it, a clean-up holds it alone.

A stage's outputs are in DVC's cache before anything names them, and a clone has no owner once its task was
killed. A file system without locks, as some network ones, lets tasks run; a clean-up then leaves clones and
cache alone.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NAME = "tasks.lock"


@contextmanager
def shared(state: Path | None) -> Iterator[None]:
    """Hold the lock as one of many tasks; wait for the end of a clean-up."""
    with _opened(state and state / _NAME) as lock:
        if lock is not None:
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_SH)
        yield


@contextmanager
def exclusive(state: Path | None) -> Iterator[bool]:
    """Hold the lock alone; yields False where a task runs, or where files cannot be locked."""
    with alone(state and state / _NAME) as held:
        yield held


@contextmanager
def alone(path: Path | None) -> Iterator[bool]:
    """Hold the lock of a file alone; yields False where another process has it, or no lock can be had."""
    with _opened(path) as lock:
        held = lock is not None
        if lock is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                held = False
        yield held


@contextmanager
def waiting(path: Path | None, says: str) -> Iterator[None]:
    """Hold the lock of a file alone; wait for it, and print what the wait is for. None is no lock."""
    with _opened(path) as lock:
        if lock is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(says, flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError:
                # A file system without locks.
                pass
        yield


def is_held(name: str, folder: int) -> bool:
    """Whether a process holds the lock of a file in the folder of this descriptor; a link is no lock."""
    try:
        lock = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


@contextmanager
def _opened(path: Path | None) -> Iterator[int | None]:
    """A descriptor of a lock's file; None where there can be none."""
    if path is None:
        yield None
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # For reading alone: another user may have created the file.
        lock = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError:
        yield None
        return
    try:
        yield lock
    finally:
        os.close(lock)
