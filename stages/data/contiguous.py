"""HDF5 files with an uncompressed dataset whose rows several threads write, each at its place."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

# Puts rows into a file, from a row number on.
Put = Callable[[int, NDArray[Any]], None]
# For what HDF5 writes besides rows and columns, and for other programs on the same disk.
_SPARE_BYTES = 2**20


def check_room(path: Path, size: int) -> None:
    """Raise OSError (ENOSPC) where the disk lacks room for so many bytes more, before HDF5 meets its end.

    HDF5 cannot close a file whose own blocks it could not write, and ends the process by a signal when that
    exits, after all its work. Rows meet a full disk in `pwrite`, which does no such harm.
    """
    disk = shutil.disk_usage(path.parent)
    # Some network file systems give no sizes: all are 0.
    if disk.total and disk.free < size + _SPARE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path.parent))


def new_file(path: Path) -> h5py.File:
    """An empty file in HDF5's latest format, which takes attributes above 64 kB, without a time of creation.

    h5py's own way stamps the root group, and the same images would give other bytes every second.
    """
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_obj_track_times(False)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_LATEST, h5py.h5f.LIBVER_LATEST)
    return h5py.File(h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, fcpl=creation, fapl=access))


@contextmanager
def rows(path: Path, key: str, shape: tuple[int, ...], dtype: DTypeLike) -> Iterator[Put]:
    """Add an uncompressed dataset to a file, and yield what writes its rows at their place, in any order.

    Args:
        path: The file.
        key: The dataset's name.
        shape: (rows, …).
        dtype: Of the values.
    """
    with h5py.File(path, "r+", libver="latest") as file:
        offset = _allocate(file, key, shape, np.dtype(dtype))
    size = int(np.prod(shape[1:])) * np.dtype(dtype).itemsize
    descriptor = os.open(path, os.O_RDWR)
    try:
        yield lambda start, rows: _write_all(descriptor, rows.data.cast("B"), offset + start * size)
        # Not forced to disk: that took a third of `resize` and two thirds of `pack`, and what a power cut
        # loses has a wrong checksum, which the next reader finds.
    finally:
        os.close(descriptor)


def _allocate(file: h5py.File, key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Reserve the dataset's place without filling it; h5py's own interface allocates at the first write."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    kind = h5py.h5t.py_create(dtype, logical=True)
    # An empty dataset has no place at all.
    return h5py.h5d.create(file.id, key.encode(), kind, space, dcpl=properties).get_offset() or 0


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    # One call writes at most 2 GiB.
    while data:
        done = os.pwrite(descriptor, data, offset)
        data, offset = data[done:], offset + done
