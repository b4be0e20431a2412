"""The file formats of the storage comparison, each written and read as its own documentation does.

Every format stores (N, H, W, 3) uint8 and returns one image at a time, as pixels.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from stages.common.files import remove
from stages.data import store

Images = NDArray[np.uint8]
_SLICE = 128


class Format(Protocol):
    """A way of storing images under `path`."""

    path: Path

    def write(self, images: Images) -> None:
        """Store these images; earlier ones are replaced."""

    def read_all(self) -> int:
        """Read every image in order; returns how many."""

    def read(self, order: Iterable[int]) -> int:
        """Read images by number, one at a time; returns how many, 0 where the format cannot."""


class PngFolder:
    """One PNG file per image."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def write(self, images: Images) -> None:
        """By OpenCV, with its default compression."""
        for number, image in enumerate(images):
            cv2.imwrite(str(self._file(number)), image)

    def read_all(self) -> int:
        """In the order of the names."""
        return sum(cv2.imread(str(file)) is not None for file in sorted(self.path.iterdir()))

    def read(self, order: Iterable[int]) -> int:
        """By name."""
        return sum(cv2.imread(str(self._file(number))) is not None for number in order)

    def _file(self, number: int) -> Path:
        return self.path / f"{number:06d}.png"


class Lmdb:
    """One key per image, the pixels uncompressed."""

    def __init__(self, path: Path) -> None:
        self.path, self._shape = path, (0, 0, 0)

    def write(self, images: Images) -> None:
        """In one transaction; small values share pages, so the map has room for more than the pixels."""
        remove(self.path)
        self._shape = images.shape[1:]
        with self._open(map_size=4 * images.nbytes + 2**24) as db, db.begin(write=True) as transaction:
            for number, image in enumerate(images):
                transaction.put(b"%08d" % number, image.tobytes())

    def read_all(self) -> int:
        """By a cursor."""
        with self._open(readonly=True) as db, db.begin() as transaction:
            return sum(1 for _, value in transaction.cursor() if self._pixels(value) is not None)

    def read(self, order: Iterable[int]) -> int:
        """By key."""
        with self._open(readonly=True) as db, db.begin() as transaction:
            return sum(self._pixels(transaction.get(b"%08d" % number)) is not None for number in order)

    def _pixels(self, value: bytes) -> Images:
        return np.frombuffer(value, np.uint8).reshape(self._shape)

    def _open(self, **options: Any) -> Any:
        import lmdb

        return lmdb.open(str(self.path), **options)


class TFRecord:
    """One record per image, the pixels uncompressed; a stream, without access by number."""

    def __init__(self, path: Path) -> None:
        self.path, self._shape = path, (0, 0, 0)

    def write(self, images: Images) -> None:
        """With labels, as records are."""
        self._shape = images.shape[1:]
        peers.write_records(self.path, images, np.zeros(len(images), np.int64))

    def read_all(self) -> int:
        """By tf.data, parsed on all cores."""
        return peers.passes(peers.record_batches(self.path, self._shape, self._shape[0], _SLICE, shuffled=0))

    def read(self, order: Iterable[int]) -> int:
        """Not possible."""
        return 0


class Hdf5:
    """One dataset; contiguous, or in chunks of one image where there is a codec."""

    def __init__(self, path: Path, dtype: str = "uint8", **codec: Any) -> None:
        self.path, self._dtype, self._codec = path, dtype, codec

    def write(self, images: Images) -> None:
        """128 images at a time."""
        chunks = (1, *images.shape[1:]) if self._codec else None
        with h5py.File(self.path, "w") as file:
            data = file.create_dataset("images", images.shape, self._dtype, chunks=chunks, **self._codec)
            for start in range(0, len(images), _SLICE):
                data[start : start + _SLICE] = images[start : start + _SLICE]

    def read_all(self) -> int:
        """128 images at a time."""
        with h5py.File(self.path) as file:
            data = file["images"]
            return sum(len(data[start : start + _SLICE]) for start in range(0, len(data), _SLICE))

    def read(self, order: Iterable[int]) -> int:
        """By number."""
        with h5py.File(self.path) as file:
            data = file["images"]
            return sum(data[number].ndim == 3 for number in order)


class Store:
    """The pipeline's own format: contiguous HDF5, read at computed offsets."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, images: Images) -> None:
        """128 images at a time."""
        ids = [f"{number:016d}" for number in range(len(images))]
        with store.create(self.path, "images", images.shape, np.uint8, ids=ids, provenance={}) as out:
            for start in range(0, len(images), _SLICE):
                out.write(start, images[start : start + _SLICE])

    def read_all(self) -> int:
        """128 images at a time."""
        with store.Reader(self.path) as rows:
            return sum(map(len, rows.batches(_SLICE)))

    def read(self, order: Iterable[int]) -> int:
        """By number."""
        with store.Reader(self.path) as rows:
            return sum(len(rows.take([number])) for number in order)


OURS = "store (HDF5)"


def _blosc2() -> Any:
    """The filter's options; its import registers it with HDF5."""
    import hdf5plugin

    return hdf5plugin.Blosc2(cname="lz4")


FORMATS: dict[str, Callable[[Path], Format]] = {
    OURS: Store,
    "folder of PNG": PngFolder,
    "LMDB": Lmdb,
    "TFRecord": TFRecord,
    "HDF5 raw": Hdf5,
    "HDF5 raw float64": lambda path: Hdf5(path, "float64"),
    "HDF5 Blosc2-LZ4": lambda path: Hdf5(path, **_blosc2()),
    "HDF5 gzip": lambda path: Hdf5(path, compression="gzip", compression_opts=4),
}
