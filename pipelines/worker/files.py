"""What files look like from outside, to see whether they have changed without reading them."""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path


class Files:
    """What a file or a folder and all below looks like, without a look into files: as git's index has it.

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
    if path.is_dir() and identity not in above:
        for entry in sorted(path.iterdir()):
            yield from _walk(entry, f"{name}/{entry.name}", above | {identity})
