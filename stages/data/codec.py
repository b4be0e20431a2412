"""A lossless codec for packed images, for those short of disk: one Blosc2-LZ4 chunk per row.

Reading goes through HDF5 and its lock, which costs most of the speed (`python -m benchmarks.bench_storage`
shows how much here), so plain is the default. Chunks of more rows would make random access unpack all of
them. Importing hdf5plugin is what makes HDF5 know the codec; it is imported only where it is needed.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from stages.common.errors import StoreError

# Puts rows into a file, from a row number on.
Put = Callable[[int, NDArray[Any]], None]


@contextmanager
def writing(path: Path, key: str, shape: tuple[int, ...], dtype: DTypeLike) -> Iterator[Put]:
    """Add a compressed dataset to a file; rows are written in the order of their numbers.

    Threads may bring them in any order, and those that are early wait in memory: the order of writing
    decides where chunks lie, and without it the same images would give other bytes.
    """
    import hdf5plugin

    codec = hdf5plugin.Blosc2(cname="lz4", clevel=5, filters=hdf5plugin.Blosc2.SHUFFLE)
    chunk = (1, *shape[1:])
    lock = threading.Lock()
    early: dict[int, NDArray[Any]] = {}
    with h5py.File(path, "r+", libver="latest") as file:
        rows = file.create_dataset(key, shape, np.dtype(dtype), chunks=chunk, track_times=False, **codec)
        following = 0

        def put(start: int, block: NDArray[Any]) -> None:
            nonlocal following
            with lock:
                early[start] = block
                while (ready := early.pop(following, None)) is not None:
                    rows[following : following + len(ready)] = ready
                    following += len(ready)

        yield put


class CompressedRows:
    """Reads rows of a compressed dataset; safe to share between threads, which take turns."""

    def __init__(self, path: Path, key: str) -> None:
        import hdf5plugin  # noqa: F401  # registers the codec

        self._path = path
        self._file = h5py.File(path, "r")
        self._rows = self._file[key]
        self._lock = threading.Lock()

    def fill(self, rows: NDArray[Any], start: int) -> None:
        """Read as many rows as the array takes, from number `start` on. Raises StoreError if damaged."""
        try:
            with self._lock:
                self._rows.read_direct(rows, np.s_[start : start + len(rows)])
        except OSError:
            raise StoreError(
                f"{self._path}: row {start} or one after it is damaged and cannot be unpacked; "
                "delete the file and run its stage again"
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()
