"""Images that are not files on disk, kept in one stored (uncompressed) zip file.

A zip so that people can open it with anything; stored so that an image is one read at a known offset.
One file and not one per image: DVC spends about a millisecond on each file it tracks.
"""

import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from stages.common.files import replace_atomically

# The earliest moment zip can express: the same images give the same bytes on any day.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@contextmanager
def writing(path: Path) -> Iterator[Callable[[str, bytes], int]]:
    """Yield add(name, data) -> offset; the file appears when the block ends without an error."""
    with replace_atomically(path) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive:

        def add(name: str, data: bytes) -> int:
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
            # Stored members end where the file ends, as there is no descriptor after a member of known size.
            return archive.start_dir - len(data)

        yield add


class BlobReader:
    """Reads members by offset; safe to share between threads, as each read is one pread."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes of one member."""
        return os.pread(self._descriptor, size, offset)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
