"""The bytes of images: of files in the source, or stored in one uncompressed zip file.

The zip holds images that are not files on disk. People can open it with anything; stored members make an
image one read at a known offset. One file and not one per image: DVC spends about a millisecond on each file
it tracks.
"""

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from stages.common.errors import SourceError, raise_if_transient
from stages.common.files import replace_atomically

if TYPE_CHECKING:
    from stages.data.manifest import Row

# The earliest moment zip can express: the same images give the same bytes on any day.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@contextmanager
def create(path: Path) -> Iterator[Callable[[str, bytes], int]]:
    """Yield add(name, data) -> offset; the file appears when the block ends without an error."""
    with replace_atomically(path) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive:

        def add(name: str, data: bytes) -> int:
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
            # Stored members end where the file ends, as there is no descriptor after a member of known size.
            return archive.start_dir - len(data)

        yield add


class BlobReader:
    """Reads stored images by offset; threads may share it, as each read is one pread. `with` closes it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes of one member."""
        return os.pread(self._descriptor, size, offset)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


class Place(NamedTuple):
    """Where an image's bytes are: a file, the offset in it, and their number."""

    file: Path
    offset: int
    size: int


class ImageReader:
    """Reads the bytes of the manifest's images, wherever they are; threads may share it. `with` closes it.

    Args:
        source: The folder of the images that are files on disk.
        blob: The zip file that ingest wrote.
    """

    def __init__(self, source: Path, blob: Path) -> None:
        self._source, self._blobs = source, BlobReader(blob)

    def read(self, row: "Row") -> bytes:
        """The bytes of one image.

        Raises:
            OSError: The file cannot be read any more.
        """
        if row.offset < 0:
            return (self._source / row.path).read_bytes()
        return self._blobs.read(row.offset, row.bytes)

    def read_unchanged(self, row: "Row") -> bytes:
        """The bytes of one image, the same as when it was ingested.

        Raises:
            SourceError: The file cannot be read any more, or has changed.
        """
        try:
            data = self.read(row)
        except OSError as error:
            raise_if_transient(error)
            raise changed(row, error) from None
        if hashlib.sha256(data).hexdigest() != row.sha256:
            raise changed(row, "other bytes than when it was ingested")
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._blobs.__exit__(*error)


def changed(row: "Row", problem: object) -> SourceError:
    """The error for an image that is no longer what ingest saw."""
    return SourceError(f"{row.path}: {problem}; the source has changed, run ingest again")


def place(row: "Row", source: Path, blob: Path) -> Place:
    """Where the bytes of one image are, for a process that reads them itself; see ImageReader."""
    if row.offset < 0:
        return Place(source / row.path, 0, row.bytes)
    return Place(blob, row.offset, row.bytes)
