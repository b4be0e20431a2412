"""A set of images as a small file: the images that a model has seen, or that a decision was taken on.

The file has eight bytes of header, `CONVOY` and the version as a 16-bit number, then the ids of the images:
the first eight bytes of each SHA-256 (the column `id` of the manifest) as big-endian numbers, sorted, without
repetition. One million images take 8 MB. Two different images share an id with a probability of 5e-20; a
million seen images and a hundred thousand test images have such a pair with a probability of 5e-9, and it
would leave one test image out.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.common.errors import StoreError
from stages.common.files import replace_atomically

_HEADER = b"CONVOY\x00\x01"
_NUMBER = np.dtype(">u8")

# Sorted numbers (N,), one per image.
ImageSet = NDArray[np.uint64]


def of_ids(ids: Iterable[str]) -> ImageSet:
    """The set of images with these ids, each 16 hex digits as in the manifest."""
    return np.unique(np.fromiter((int(identity, 16) for identity in ids), np.uint64))


def write(path: Path, images: ImageSet) -> None:
    """Write a set to a file."""
    with replace_atomically(path) as aside:
        aside.write_bytes(_HEADER + np.unique(images).astype(_NUMBER).tobytes())


def read(path: Path) -> ImageSet:
    """Read a set from a file. Raises StoreError for a file of another kind or version."""
    data = path.read_bytes()
    if data[: len(_HEADER)] != _HEADER or (len(data) - len(_HEADER)) % _NUMBER.itemsize:
        raise StoreError(f"{path} is no set of images of this version")
    return np.frombuffer(data, _NUMBER, offset=len(_HEADER)).astype(np.uint64)


def digest(images: ImageSet) -> str:
    """The name of a set: the first 16 hex digits of the SHA-256 of its file."""
    return hashlib.sha256(_HEADER + np.unique(images).astype(_NUMBER).tobytes()).hexdigest()[:16]
