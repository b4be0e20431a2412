"""Arrays on disk: one HDF5 file with one contiguous dataset of rows, their ids and labels.

Contiguous and uncompressed so that the place of row i is known: rows are written and read with pwrite and
pread at that place, by as many threads as there are, without HDF5's global lock and without the memory
that a mapped file would count. For other programs it is an ordinary HDF5 file. (h5py's own random access
reads 10,000 images of 256x256 a second one at a time and 1,500 by an index list.)

Every row has a checksum, which is compared when the row is first read: xxh3, 12 microseconds for an image of
256x256, where CRC-32 takes 116. All that is not a row (ids, columns such as labels and sums, the rows'
checksums, provenance) has one checksum together, which is compared when the file is opened. A last attribute
marks the file as complete.

The attribute `format` says the version of all this. A file without it is of version 1, which has no checksum
of ids and columns, and is read all the same; a file of a later version is refused with what to do.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self, get_args

import h5py
import numpy as np
import xxhash
from numpy.typing import DTypeLike, NDArray

from stages.common.errors import StoreError, raise_if_transient
from stages.common.files import replace_atomically
from stages.data import contiguous, parts
from stages.data.contiguous import Put

Key = Literal["images", "features", "probabilities", "results"]
KEYS: tuple[Key, ...] = get_args(Key)
_CHECKSUMS, _COMPLETE = "checksums", "complete"
_FORMAT, _REST = "format", "rest_checksum"
_LABELS, _NAMES, _CLASSES = "labels", "label_names", "classes"
_VERSION = 2
# What h5py raises for files that another program wrote and for damaged ones; of a wrong signature deep in a
# file, RuntimeError.
_NOT_OURS = (OSError, KeyError, RuntimeError, StopIteration, ValueError)


class Writer:
    """Writes rows of a dataset whose place in the file is fixed; threads may write different rows.

    Attributes:
        columns: Name → one value per row, such as labels; each becomes a further dataset.
        checksums: xxh3 of each row, uint64 (N,).
    """

    def __init__(self, put: Put, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.columns: dict[str, NDArray[Any]] = {}
        self.checksums = np.zeros(shape[0], np.uint64)
        self._put, self._row, self._dtype = put, shape[1:], np.dtype(dtype)

    def write(self, start: int, rows: NDArray[Any]) -> None:
        """Write consecutive rows at their place.

        Args:
            start: The number of the first row.
            rows: (n, …) of the file's type and shape.
        """
        if rows.shape[1:] != self._row or rows.dtype != self._dtype:
            raise ValueError(
                f"rows are {rows.dtype}{rows.shape[1:]}, the file holds {self._dtype}{self._row}"
            )
        contiguous = np.ascontiguousarray(rows)
        self.checksums[start : start + len(rows)] = [xxhash.xxh3_64_intdigest(row) for row in contiguous]
        self._put(start, contiguous)


@contextmanager
def create(
    path: Path,
    key: Key,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    *,
    ids: Sequence[str] | NDArray[np.str_],
    provenance: dict[str, Any],
) -> Iterator[Writer]:
    """Yield a Writer for a new file, which appears under `path` when the block ends without an error.

    Args:
        path: The file.
        key: What the rows are.
        shape: (rows, …).
        dtype: Of the values.
        ids: The name of each row.
        provenance: Where the rows come from; stored as JSON in the file's attributes. The
            `classes` of rows with labels become the dataset `label_names` too.
    """
    names = np.asarray(ids, dtype="S")
    with replace_atomically(path) as aside:
        contiguous.check_room(aside, math.prod(shape) * np.dtype(dtype).itemsize + names.nbytes)
        with contiguous.new_file(aside) as file:
            file.create_dataset("ids", data=names, track_times=False)
            file.attrs["provenance"] = json.dumps(provenance, sort_keys=True, ensure_ascii=False)
        with contiguous.rows(aside, key, shape, dtype) as put:
            writer = Writer(put, shape, dtype)
            yield writer
        columns = writer.columns | {_CHECKSUMS: writer.checksums}
        if _LABELS in writer.columns and _CLASSES in provenance:
            # For programs that read HDF5 alone, under the name of the books' files.
            columns[_NAMES] = _texts(provenance[_CLASSES])
        contiguous.check_room(aside, _bytes(columns))
        with h5py.File(aside, "r+", libver="latest") as file:
            _complete(file, key, columns)


def join(path: Path, files: Sequence[Path]) -> None:
    """Write an index of files, in whose rows `Reader` reads as if they were one file's.

    Args:
        path: The index.
        files: The parts, in the same folder; written by `create` with the same provenance, and each with
            rows.

    Raises:
        StoreError: The parts do not fit together.
    """
    readers = [Reader(file) for file in files]
    first = readers[0]
    kinds = {(file.parent, reader.key, reader.shape[1:], str(reader.dtype), json.dumps(reader.provenance))
             for file, reader in zip(files, readers, strict=True)}  # fmt: skip
    for reader in readers:
        reader.close()
    if len(kinds) > 1 or files[0].parent != path.parent:
        raise StoreError(f"{path}: its parts differ in folder, shape, type or provenance")
    layout = h5py.VirtualLayout((sum(map(len, readers)), *first.shape[1:]), first.dtype)
    start = 0
    for reader in readers:
        source = h5py.VirtualSource(reader.path.name, first.key, reader.shape, first.dtype)
        layout[start : start + len(reader)] = source
        start += len(reader)
    columns = {name: np.concatenate([reader._columns[name] for reader in readers]) for name in first._columns}
    if _NAMES in columns:
        columns[_NAMES] = first._columns[_NAMES]
    columns["ids"] = np.concatenate([reader._ids for reader in readers])
    columns[_CHECKSUMS] = np.concatenate([reader._checksums for reader in readers])
    with replace_atomically(path) as aside:
        contiguous.check_room(aside, _bytes(columns))
        with contiguous.new_file(aside) as file:
            file.attrs["provenance"] = json.dumps(first.provenance, sort_keys=True, ensure_ascii=False)
            file.create_virtual_dataset(first.key, layout)
            _complete(file, first.key, columns)


def _bytes(columns: Mapping[str, NDArray[Any]]) -> int:
    return sum(values.nbytes for values in columns.values())


def _complete(file: h5py.File, key: Key, columns: Mapping[str, NDArray[Any]]) -> None:
    """Add the columns, and mark the file as complete."""
    for name, values in columns.items():
        file.create_dataset(name, data=values, track_times=False)
    file.attrs[_FORMAT] = _VERSION
    file.attrs[_REST] = np.uint64(_rest_checksum(file, key, _columns(file, key)))
    file.attrs[_COMPLETE] = True


class Reader:
    """Reads rows by number; threads may share it. `with` closes the file.

    Attributes:
        path: The file; of rows in several parts the index.
        key: What the rows are.
        shape: (rows, …).
        dtype: Of the values.
        provenance: What `create` was called with.
    """

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            StoreError: The file is missing, not complete, or was not written by `create`.
        """
        self.path = path
        try:
            with h5py.File(path, "r") as file:
                version = _check_format(file, path)
                self.key: Key = next(key for key in KEYS if key in file)
                self.shape: tuple[int, ...] = file[self.key].shape
                self.dtype = file[self.key].dtype
                places = parts.locate(file[self.key], path)
                self.provenance: dict[str, Any] = json.loads(file.attrs["provenance"])
                self._columns = _columns(file, self.key)
                if version > 1 and _rest_checksum(file, self.key, self._columns) != int(file.attrs[_REST]):
                    raise StoreError(
                        f"{path}: ids, labels or other columns are damaged: wrong checksum; "
                        "delete the file and run its stage again"
                    )
                self._ids: NDArray[np.bytes_] = self._columns.pop("ids")
                self._checksums = self._columns.pop(_CHECKSUMS)
        except FileNotFoundError:
            raise StoreError(f"{path} does not exist; run the stage that makes it") from None
        except _NOT_OURS as error:
            raise_if_transient(error)
            raise StoreError(f"{path} was not written by this pipeline, or is damaged: {error!r}") from None
        # Bytes and not NumPy, whose access to one element takes a part of the time of reading the row.
        self._checked = bytearray(len(self))
        self._rows = parts.Rows(places, int(np.prod(self.shape[1:])) * self.dtype.itemsize)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ids(self) -> NDArray[np.str_]:
        """The rows' names (N,), a new array each time.

        In memory they are bytes, as in the file: a quarter of the memory of str.
        """
        return self._ids.astype(np.str_)

    def column(self, name: str) -> NDArray[Any]:
        """One value per row (N,).

        Raises:
            StoreError: The file has no such column.
        """
        if name not in self._columns:
            raise StoreError(f"{self.path} has no column {name}")
        values: NDArray[Any] = self._columns[name]
        return values

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows start to stop (exclusive), as a new array.

        Raises:
            StoreError: A row's checksum is wrong, or the file is too short.
        """
        rows = np.empty((max(0, min(stop, len(self)) - start), *self.shape[1:]), self.dtype)
        self._fill(rows, start)
        return rows

    def take(self, numbers: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Rows by number, in the order of `numbers`, as a new array. Raises as `read`."""
        rows = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        for place, number in enumerate(numbers):
            self._fill(rows[place : place + 1], int(number))
        return rows

    def each(self, numbers: Sequence[int] | NDArray[np.integer[Any]]) -> Iterator[NDArray[Any]]:
        """Rows by number, one after the other, in one array that stays in the processor's cache.

        The next row overwrites the array. Raises as `read`.
        """
        row = np.empty((1, *self.shape[1:]), self.dtype)
        (only,) = row
        for number in np.asarray(numbers).tolist():
            self._fill(row, number)
            yield only

    def prefetch(self, start: int, stop: int) -> None:
        """Let the system begin to read rows start to stop (exclusive); nothing without posix_fadvise."""
        self._rows.prefetch(start, stop)

    def batches(self, size: int) -> Iterator[NDArray[Any]]:
        """All rows in order, `size` at a time; the last batch may be shorter."""
        for start in range(0, len(self), size):
            yield self.read(start, start + size)

    def _fill(self, rows: NDArray[Any], start: int) -> None:
        if not 0 <= start <= len(self) - len(rows):
            raise IndexError(f"row {start} is not in {self.path}, which has {len(self)}")
        if rows.size:
            self._rows.fill(rows, start)
        self._check(rows, start)

    def _check(self, rows: NDArray[Any], start: int) -> None:
        if 0 not in self._checked[start : start + len(rows)]:
            return
        for number, row in enumerate(rows, start):
            if xxhash.xxh3_64_intdigest(row) != self._checksums[number]:
                raise StoreError(
                    f"{self.path}: row {number} (image {self.ids[number]}) is damaged: wrong checksum; "
                    "delete the file and run its stage again"
                )
        self._checked[start : start + len(rows)] = b"\x01" * len(rows)

    def close(self) -> None:
        """Close the file; rows can no longer be read."""
        self._rows.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_format(file: h5py.File, path: Path) -> int:
    """The version of the format. Raises StoreError for a later one, and for a file that is not complete."""
    if (version := int(file.attrs.get(_FORMAT, 1))) > _VERSION:
        raise StoreError(
            f"{path} is of format {version}, this code reads up to {_VERSION}; check out the code that wrote "
            "it, or delete it and run its stage again (dvc repro)"
        )
    if not file.attrs.get(_COMPLETE):
        raise StoreError(f"{path} is not complete; delete it and run its stage again")
    return version


def _columns(file: h5py.File, key: Key) -> dict[str, NDArray[Any]]:
    """All datasets but the rows: ids, columns, checksums."""
    return {name: file[name][:] for name in file if name != key}


def _rest_checksum(file: h5py.File, key: Key, columns: Mapping[str, NDArray[Any]]) -> int:
    """xxh3 of all but the rows: their shape and type, ids, columns, checksums and provenance."""
    digest = xxhash.xxh3_64(f"{key} {file[key].shape} {file[key].dtype} {file.attrs['provenance']}".encode())
    for name, values in sorted(columns.items()):
        digest.update(f"{name} {values.shape} {values.dtype}".encode())
        digest.update(values.tobytes())
    return digest.intdigest()


def _texts(values: Sequence[str]) -> NDArray[np.bytes_]:
    """Strings of one length in UTF-8, as a variable length would add HDF5's heap to the file."""
    encoded = [value.encode() for value in values]
    return np.array(encoded, h5py.string_dtype("utf-8", max(map(len, encoded))))
