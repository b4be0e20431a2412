"""Old files and folders of tasks in the state folder: counted, measured and removed.

Stages write into these folders, so nothing in them is trusted. No link is followed, neither to a folder of
leftovers nor inside one: every step goes by the descriptor of the folder above, which a stage cannot exchange
for a link between the look and the removal.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.worker import locks

# Below the state folder; the entries of each are removed as a whole.
FOLDERS = {
    "failed": "outputs of failed stages",
    "results": "results of tasks",
    "checkpoints": "checkpoints of abandoned trainings",
    "tracking": "tracking records of abandoned runs",
    "plans": "plans of complete runs",
    "run_locks": "dvc.lock of earlier runs",
    "stage_locks": "locks of stages",
}
_LOCK = "lock"


@dataclass
class Leftovers:
    """What can be removed.

    Attributes:
        names: Files and folders.
        size: Bytes on disk that end with them: a file with another link counts nothing.
    """

    names: list[str] = field(default_factory=list)
    size: int = 0


def find(state: Path, folder: str, before: float) -> Leftovers:
    """List the entries of a folder that are older and whose locks no process holds.

    Args:
        state: The state folder.
        folder: A folder in it.
        before: Seconds since the epoch. An entry is older if all files and folders in it are.

    Returns:
        The entries; none where the folder is missing or a link.
    """
    leftovers = Leftovers()
    with _opened(state, folder) as above:
        for name in sorted(os.listdir(above)) if above is not None else []:  # noqa: PTH208  (a descriptor)
            try:
                newest, size, locked = _measured(name, above)
            except FileNotFoundError:
                # Tasks work on, and rename what they have written.
                continue
            if newest < before and not locked:
                leftovers.names.append(name)
                leftovers.size += size
    return leftovers


def remove(state: Path, folder: str, names: list[str]) -> list[str]:
    """Remove entries of a folder.

    Returns:
        A sentence for each entry that could not be removed.
    """
    failures = []
    with _opened(state, folder) as above:
        for name in names if above is not None else []:
            try:
                if stat.S_ISDIR(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
                    shutil.rmtree(name, dir_fd=above)
                else:
                    os.unlink(name, dir_fd=above)
            except FileNotFoundError:
                continue
            except OSError as error:
                failures.append(f"{folder}/{name} stays: {error.strerror}")
    return failures


@contextmanager
def _opened(state: Path, folder: str) -> Iterator[int | None]:
    """A descriptor of a folder in the state folder; None where there is none, or it is a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        above = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield None
        return
    try:
        opened = os.open(folder, flags, dir_fd=above)
    except OSError:
        yield None
        return
    finally:
        os.close(above)
    try:
        yield opened
    finally:
        os.close(opened)


def _measured(name: str, above: int | None) -> tuple[float, int, bool]:
    """The latest change of an entry and all below, its bytes, and whether a process holds a lock in it."""
    status = os.stat(name, dir_fd=above, follow_symlinks=False)
    newest, size, locked = status.st_mtime, _bytes(status), False
    if not stat.S_ISDIR(status.st_mode):
        return newest, size, locked
    for _, folders, files, inner in os.fwalk(name, dir_fd=above, follow_symlinks=False):
        for entry in (*folders, *files):
            try:
                status = os.stat(entry, dir_fd=inner, follow_symlinks=False)
            except FileNotFoundError:
                continue
            newest, size = max(newest, status.st_mtime), size + _bytes(status)
            locked = locked or (
                entry == _LOCK and stat.S_ISREG(status.st_mode) and locks.is_held(entry, inner)
            )
    return newest, size, locked


def _bytes(status: os.stat_result) -> int:
    return status.st_size if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else 0
