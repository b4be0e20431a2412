"""Read rows of one HDF5 file, or of several parts behind one index.

An index is an HDF5 file whose dataset of rows is virtual: it says which rows are in which part, a file of its
own in the same folder. Parts of bounded size suit file systems, remotes and caches with a limit.
"""

import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from stages.common.errors import StoreError


@dataclass(frozen=True)
class Part:
    """Consecutive rows in one file, uncompressed.

    Attributes:
        path: The file.
        offset: Where its first row begins, in bytes.
        first: The number of this row among all rows.
        count: How many rows it has.
    """

    path: Path
    offset: int
    first: int
    count: int


class Rows:
    """Reads rows of one file or of several; threads may share it.

    Args:
        parts: In the order of their rows, without a gap.
        size: Bytes of a row.
    """

    def __init__(self, parts: Sequence[Part], size: int) -> None:
        self._parts, self._size = parts, size
        self._firsts = [part.first for part in parts]
        self._descriptors = [os.open(part.path, os.O_RDONLY) for part in parts]

    def fill(self, rows: NDArray[Any], start: int) -> None:
        """Read consecutive rows from number `start` on into an array. Raises StoreError for a short file."""
        if len(self._parts) == 1:
            # The usual file: a single row takes a few microseconds, and a search would add one.
            (part,), (descriptor,) = self._parts, self._descriptors
            _read_all(descriptor, rows.data.cast("B"), part.offset + start * self._size, part.path)
            return
        done = 0
        while done < len(rows):
            number, first, count = self._place(start + done, start + len(rows))
            part, data = self._parts[number], rows[done : done + count].data.cast("B")
            _read_all(self._descriptors[number], data, part.offset + first * self._size, part.path)
            done += count

    def prefetch(self, start: int, stop: int) -> None:
        """Let the system begin to read rows start to stop (exclusive); nothing without posix_fadvise."""
        stop = min(stop, self._parts[-1].first + self._parts[-1].count)
        while start < stop and hasattr(os, "posix_fadvise"):
            number, first, count = self._place(start, stop)
            place = self._parts[number].offset + first * self._size
            os.posix_fadvise(self._descriptors[number], place, count * self._size, os.POSIX_FADV_WILLNEED)
            start += count

    def close(self) -> None:
        """Close all files."""
        for descriptor in self._descriptors:
            os.close(descriptor)

    def _place(self, start: int, stop: int) -> tuple[int, int, int]:
        """The part of a row, the row's number in the part, and how many rows up to `stop` are there."""
        number = bisect_right(self._firsts, start) - 1
        first = start - self._parts[number].first
        return number, first, min(stop - start, self._parts[number].count - first)


def locate(dataset: h5py.Dataset, path: Path) -> list[Part]:
    """List where the rows of a dataset are.

    Args:
        dataset: One of this format, contiguous or virtual.
        path: Its file.

    Raises:
        StoreError: It is compressed; or a part is missing, elsewhere, or is not what the index says.
    """
    if not dataset.is_virtual:
        return [Part(path, _offset(dataset, path), 0, len(dataset))]
    parts = []
    for source in dataset.virtual_sources():
        # As a hostile file might name any other file of this machine.
        if Path(source.file_name).name != source.file_name:
            raise StoreError(f"{path}: part {source.file_name!r}; must be a file in the same folder")
        (first, *_), (last, *_) = source.vspace.get_select_bounds()
        parts.append(_part(dataset, path, source.file_name, first, last - first + 1))
    parts.sort(key=lambda part: part.first)
    ends = [0, *(part.first + part.count for part in parts)]
    if [part.first for part in parts] != ends[:-1] or ends[-1] != len(dataset):
        raise StoreError(f"{path}: its parts do not have all of its rows, each once")
    return parts


def _part(dataset: h5py.Dataset, path: Path, name: str, first: int, count: int) -> Part:
    file = path.parent / name
    try:
        with h5py.File(file, "r") as opened:
            rows = opened[dataset.name]
            if (rows.shape, rows.dtype) != ((count, *dataset.shape[1:]), dataset.dtype) or rows.is_virtual:
                raise StoreError(f"{path}: its part {name} has other rows than the index says")
            return Part(file, _offset(rows, file), first, count)
    except FileNotFoundError:
        raise StoreError(f"{path}: its part {name} does not exist; run the stage that makes it") from None


def _offset(dataset: h5py.Dataset, path: Path) -> int:
    if dataset.chunks is not None:
        raise StoreError(f"{path} is compressed, as older versions wrote it; run its stage again")
    # An empty dataset has no place at all.
    return dataset.id.get_offset() or 0


def _read_all(descriptor: int, data: memoryview, offset: int, path: Path) -> None:
    while data:
        done = os.preadv(descriptor, [data], offset)
        if not done:
            raise StoreError(f"{path} is shorter than it says; delete it and run its stage again")
        data, offset = data[done:], offset + done
