"""Whether files have changed, without reading them; and files that are written whole or not at all."""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path


class Files:
    """The state of a file, or of a folder with all below, by `stat` alone: as git's index has it.

    Attributes:
        digest: Of names, sizes, times and inodes.
        newest: The latest change of a file or folder, in seconds since the epoch; None where there is none.
        count: The number of files.
    """

    def __init__(self, path: Path) -> None:
        digest, newest, self.count = hashlib.sha256(), 0.0, 0
        for name, status in _walk(path, ""):
            values = name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
            digest.update(json.dumps(values).encode())
            newest = max(newest, status.st_mtime, status.st_ctime)
            self.count += stat.S_ISREG(status.st_mode)
        self.digest = digest.hexdigest()
        self.newest: float | None = newest or None


def _walk(
    path: Path, name: str, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[tuple[str, os.stat_result]]:
    """Each file and folder, in a fixed order. Links are followed, but not back to a folder above."""
    try:
        status = path.stat()
    except OSError:
        return
    yield name, status
    identity = status.st_dev, status.st_ino
    if not stat.S_ISDIR(status.st_mode) or identity in above:
        return
    try:
        entries = sorted(path.iterdir())
    except OSError:
        # A person may delete the folder meanwhile.
        return
    for entry in entries:
        yield from _walk(entry, f"{name}/{entry.name}", above | {identity})


def write(path: Path, text: str) -> None:
    """Write a file, whole or not at all: others may read it at any time, and write it at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.uname().nodename}-{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
