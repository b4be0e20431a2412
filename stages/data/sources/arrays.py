"""Images in an array of one NumPy (.npz) or HDF5 file, with an array of their labels."""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages.common.errors import SourceError, raise_if_transient
from stages.data.sources import Image, SourceParams
from stages.data.sources._limits import Budget
from stages.data.sources._png import png
from stages.data.sources._zip import MEMBER_ERRORS

_ROWS_AT_ONCE = 64
# What h5py and NumPy raise for damaged files, and for arrays that claim more memory than there is.
_BROKEN = (*MEMBER_ERRORS, KeyError, MemoryError, TypeError, ValueError)


class Params(SourceParams):
    """Two arrays in one file.

    Attributes:
        path: The file.
        images: The name of the array of images.
        labels: The name of the array of labels.
    """

    kind: Literal["arrays"]
    images: str = "images"
    labels: str = "labels"


def images(params: Params) -> Iterator[Image]:
    """Each row as a PNG named LABEL/NUMBER.png, in the file's order.

    Args:
        params: The file and the names of its arrays. Images are uint8, (N, H, W), (N, H, W, 1) or
            (N, H, W, 3) in RGB order; labels are N numbers or words.

    Raises:
        SourceError: The file or an array is missing, damaged or something else, or claims more bytes than an
            array of images has.
    """
    try:
        with _opened(params.path) as file:
            images, labels = (_array(file, params, name) for name in (params.images, params.labels))
            _check(params, images, labels)
            # HDF5 stores no chunk that was never written, however large the array is.
            Budget(params.path).spend(images.nbytes + labels.nbytes)
            words = [_word(label) for label in np.ravel(labels[:])]
            for start in range(0, len(words), _ROWS_AT_ONCE):
                for place, pixels in enumerate(images[start : start + _ROWS_AT_ONCE]):
                    label = words[start + place]
                    yield Image(f"{label}/{start + place:07d}.png", label, data=png(pixels))
    except _BROKEN as error:
        raise_if_transient(error)
        raise SourceError(
            f"ingest.source.path: {params.path} cannot be read as .npz or HDF5: {error}"
        ) from None


def _opened(path: Path) -> AbstractContextManager[Mapping[str, Any]]:
    import h5py

    # Opened first, so that a missing file is called missing.
    with path.open("rb") as file:
        if not h5py.is_hdf5(path) and not zipfile.is_zipfile(file):
            raise ValueError("it is neither")
    opened: AbstractContextManager[Mapping[str, Any]]
    if h5py.is_hdf5(path):
        opened = h5py.File(path, "r")
    else:
        # NumPy unpacks an array into memory as a whole.
        with zipfile.ZipFile(path) as members:
            Budget(path).spend(sum(info.file_size for info in members.infolist()))
        opened = np.load(path, allow_pickle=False)
    return opened


def _array(file: Mapping[str, Any], params: Params, name: str) -> Any:
    array = file.get(name)
    # A group of an HDF5 file has neither.
    if not (hasattr(array, "dtype") and hasattr(array, "shape")):
        raise SourceError(
            f"ingest.source: {params.path} has no array {name!r}; it has {', '.join(map(str, file))}"
        )
    return array


def _check(params: Params, images: Any, labels: Any) -> None:
    kind, shape = images.dtype, tuple(images.shape)
    if kind != np.uint8 or len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,)) or 0 in shape[1:3]:
        raise SourceError(
            f"ingest.source.images: {params.images!r} in {params.path} is {kind} {shape}; "
            "must be uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3), no side 0"
        )
    if tuple(labels.shape) not in (shape[:1], (*shape[:1], 1)):
        raise SourceError(
            f"ingest.source.labels: {params.labels!r} in {params.path} has shape {tuple(labels.shape)}; "
            f"must be one label for each of the {shape[0]} images"
        )


def _word(label: Any) -> str:
    return label.decode(errors="replace") if isinstance(label, bytes) else str(label)
