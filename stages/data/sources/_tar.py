"""The members of a tar archive, plain or compressed, read as a stream."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.data.sources import Image
from stages.data.sources._limits import Budget, too_large

# By a file's first bytes; the last is xz's older form.
COMPRESSED: Mapping[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"\x5d\0\0": lzma.open,
}

# GNU tar's label of a volume is no file.
_VOLUME_LABEL = b"V"


def members(path: Path, encoding: str | None) -> Iterator[Image]:
    """Every member in the archive's order; folders have neither data nor a problem.

    Args:
        path: The file.
        encoding: Of names outside of PAX headers, which are UTF-8; None: UTF-8.
    """
    size, budget = path.stat().st_size, Budget(path)
    with (
        _unpacked(path) as file,
        tarfile.open(
            fileobj=_Bounded(file, budget), mode="r|", bufsize=2**17, encoding=encoding or "utf-8"
        ) as archive,
    ):
        while (member := archive.next()) is not None:
            if member.isdir():
                yield Image(member.name, None)
            elif member.type == _VOLUME_LABEL:
                continue
            elif not member.isfile():
                yield Image(member.name, None, problem="a link or device in an archive is not followed")
            elif problem := too_large(member.size, size):
                yield Image(member.name, None, problem=problem)
            else:
                if member.sparse is not None:
                    # Holes are no bytes of the stream.
                    budget.spend(member.size)
                content = archive.extractfile(member)
                yield Image(member.name, None, data=content.read() if content else b"")
            # tarfile remembers every member for random access, a kilobyte each.
            archive.members.clear()  # type: ignore[attr-defined]


class _Bounded(io.RawIOBase):
    """A stream that ends in an error where it unpacks to too much; headers can be as large as members."""

    def __init__(self, file: io.BufferedIOBase, budget: Budget) -> None:
        self._file, self._budget = file, budget

    def read(self, size: int = -1) -> bytes:
        # What follows the end of the compressed data is an error only of a read that begins there.
        data = self._file.read1(size)
        self._budget.spend(len(data))
        return data


def _unpacked(path: Path) -> io.BufferedIOBase:
    with path.open("rb") as file:
        start = file.read(6)
    unpack = next((unpack for magic, unpack in COMPRESSED.items() if start.startswith(magic)), open)
    unpacked: io.BufferedIOBase = unpack(path, "rb")
    return unpacked
