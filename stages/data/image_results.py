"""What the data stages compute of one image, stored for every later run: see results_store.py.

    digests     a file that has not changed since it was read → the SHA-256 of its bytes
    facts       what `ingest` says of an image, and the figures of `audit`: one decode gives both
    resized     the pixels and sums of `resize`
    thumbnails  the small versions that `audit` shows

A stored result counts while its code (`stages/common/fingerprint.py`), its params and the libraries' versions
are the same.
"""

import hashlib
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.common import fingerprint
from stages.common.files import digest as file_digest
from stages.data import decoding, profile, results_store, statistics
from stages.data.decoding import Facts, Pixels
from stages.data.profile import Look
from stages.data.results_store import Results
from stages.data.sizing import View, to_size

_THIS = "stages/data/image_results.py"
_ANY_SIZE = 2**62
# Width, height, channels; plain; whether there is a perceptual hash, and it; brightness, contrast, sharpness.
_FACTS = struct.Struct("<IIB??Q3d")
_SHAPE = struct.Struct("<II")
_NO_PIXELS = np.empty((0, 0, 3), np.uint8)
# A file may change twice within one tick of the file system's clock: such a file is read again next time.
_SECONDS_UNTIL_SETTLED = 2.0


class Resized(NamedTuple):
    """Pixels (H, W, C) uint8, and per channel the sums of the values and of their squares, int64 (C,)."""

    pixels: Pixels
    sums: NDArray[np.int64]
    squares: NDArray[np.int64]

    @classmethod
    def from_pixels(cls, pixels: Pixels) -> "Resized":
        """With the sums computed."""
        return cls(pixels, *statistics.sums(pixels))


def resize(data: bytes, height: int, width: int, plain: bool, view: View) -> Resized:
    """Decode and resize an image; see `View.apply`."""
    return Resized.from_pixels(view.apply(data, height, width, plain=plain))


class Examined(NamedTuple):
    """What one decode gives; `resized` only where it was asked for."""

    facts: Facts
    look: Look
    resized: Resized | None


def examine(
    data: bytes,
    small: bool = True,
    *,
    damaged: bool,
    max_pixels: int = _ANY_SIZE,
    ahead: View | None = None,
) -> Examined:
    """Decode an image, and compute all that `ingest`, `audit` and `resize` need of it.

    Args:
        data: The file.
        small: Whether the look has its small version, up to 49 kB.
        damaged: Whether to accept a damaged image.
        max_pixels: Images with more are refused.
        ahead: What `resize` will ask for; None: not now.

    Raises:
        DamagedError, ImageError: As `decoding.examine`.
    """
    facts, image = decoding.examine(data, max_pixels, hashed=True, damaged=damaged)
    # A conversion of what is RGB already would copy it.
    pixels: Pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    look = profile.look(pixels)
    resized = None
    # Reduced decodes and gray ones of coloured images give other pixels. Damaged: only thumbnails are stored.
    if (
        ahead
        and facts.damage is None
        and ahead.quality == "exact"
        and (ahead.color == "rgb" or image.mode == "L")
    ):
        seen = pixels if ahead.color == "rgb" else np.asarray(image)[:, :, None]
        sized = to_size(seen, ahead.height, ahead.width, keep_aspect=ahead.keep_aspect, quality="exact")
        resized = Resized.from_pixels(sized)
    return Examined(facts, look if small else replace(look, small=_NO_PIXELS), resized)


class FileDigests:
    """The digests of files that have not changed since they were read: path, size, times and inode say so."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def get(self, path: Path, file: os.stat_result) -> str | None:
        """The SHA-256 (hex) of the file's bytes, or None."""
        row = self._results.get(_identity(path, file))
        return None if row is None else row.tobytes().hex()

    def add(self, path: Path, before: os.stat_result, after: os.stat_result, sha256: str) -> None:
        """Store the digest of bytes that were read between two looks at the file."""
        settled = time.time() - max(after.st_mtime, after.st_ctime) > _SECONDS_UNTIL_SETTLED
        if settled and (identity := _identity(path, after)) == _identity(path, before):
            self._results.add(identity, np.frombuffer(bytes.fromhex(sha256), np.uint8))


class ResizedImages:
    """The results of `resize`."""

    def __init__(self, results: Results, view: View) -> None:
        self._results, self.view = results, view
        self._shape = (view.height, view.width, 3 if view.color == "rgb" else 1)

    def get(self, sha256: str) -> Resized | None:
        """The resized image whose file has this SHA-256, or None."""
        row = self._results.get(sha256)
        if row is None:
            return None
        count = int(np.prod(self._shape))
        sums, squares = row[count:].copy().view(np.int64).reshape(2, -1)
        return Resized(row[:count].reshape(self._shape), sums, squares)

    def add(self, sha256: str, image: Resized) -> None:
        """Store a resized image."""
        self._results.add(sha256, *image)


class Looks:
    """The facts and figures of images, each from one decode.

    With `ahead`, that decode also gives the pixels that `resize` will ask for.
    """

    def __init__(self, results: Results, thumbnails: Results, ahead: ResizedImages | None = None) -> None:
        self._results, self._thumbnails, self._ahead = results, thumbnails, ahead
        self._lock = threading.Lock()
        self.decoded = 0

    def facts(self, sha256: str) -> Facts | None:
        """The stored facts of an undamaged image."""
        row = self._results.get(sha256)
        if row is None:
            return None
        width, height, channels, plain, hashed, phash, *_ = _FACTS.unpack(row.tobytes())
        return Facts(width, height, channels, plain, phash if hashed else None)

    def figures(self, sha256: str) -> Look | None:
        """The stored figures of an undamaged image, without its small version."""
        row = self._results.get(sha256)
        if row is None:
            return None
        width, height, *_, brightness, contrast, sharpness = _FACTS.unpack(row.tobytes())
        return Look(width, height, brightness, contrast, sharpness, _NO_PIXELS)

    def thumbnail(self, sha256: str) -> Pixels | None:
        """The stored small version of an image."""
        row = self._thumbnails.get(sha256)
        if row is None:
            return None
        height, width = _SHAPE.unpack(row[: _SHAPE.size].tobytes())
        return row[_SHAPE.size :][: height * width * 3].reshape(height, width, 3)

    def _add_thumbnail(self, sha256: str, small: Pixels) -> None:
        """Store a small version, as many bytes for any shape."""
        padded = np.zeros(profile.SIDE**2 * 3, np.uint8)
        padded[: small.size] = small.reshape(-1)
        self._thumbnails.add(sha256, np.frombuffer(_SHAPE.pack(*small.shape[:2]), np.uint8), padded)

    @property
    def view(self) -> View | None:
        """What the decode gives `resize` as well."""
        return self._ahead.view if self._ahead else None

    def add(self, sha256: str, examined: Examined) -> None:
        """Store what one decode gave.

        Of damaged images no facts: whether these are accepted is a param.
        """
        with self._lock:
            self.decoded += 1
        if examined.look.small.size:
            self._add_thumbnail(sha256, examined.look.small)
        if examined.facts.damage is None:
            self._results.add(sha256, np.frombuffer(_packed(examined.facts, examined.look), np.uint8))
            if self._ahead and examined.resized:
                self._ahead.add(sha256, examined.resized)


@contextmanager
def file_digests() -> Iterator[FileDigests]:
    """Open the digests of unchanged files."""
    with results_store.opened("digests", {}) as results:
        yield FileDigests(results)


@contextmanager
def resized_images(view: View) -> Iterator[ResizedImages]:
    """Open the results of `resize` for one view."""
    with results_store.opened("resized", _follows_from("sizing", "statistics", view=repr(view))) as results:
        yield ResizedImages(results, view)


@contextmanager
def looks(ahead: View | None = None) -> Iterator[Looks]:
    """Open the facts and figures of images."""
    with (
        results_store.opened("facts", _follows_from("decoding", "profile")) as results,
        results_store.opened("thumbnails", _follows_from("decoding", "profile")) as thumbnails,
    ):
        if ahead is None:
            yield Looks(results, thumbnails)
            return
        with resized_images(ahead) as resized:
            yield Looks(results, thumbnails, resized)


def examined_follow_from() -> dict[str, Any]:
    """The code and versions that decide what `examine` and `resize` give."""
    return _follows_from("image_results")


def _follows_from(*modules: str, **params: object) -> dict[str, Any]:
    # This file computes and packs what the modules give. Not all that it imports: an edit of sizing must not
    # decode every image again.
    code = {_THIS: file_digest(fingerprint.ROOT / _THIS)}
    for module in modules:
        code |= fingerprint.code(f"stages.data.{module}")
    return {"code": code, "versions": decoding.versions(), **params}


def _packed(facts: Facts, look: Look) -> bytes:
    return _FACTS.pack(
        facts.width,
        facts.height,
        facts.channels,
        facts.plain,
        facts.phash is not None,
        facts.phash or 0,
        look.brightness,
        look.contrast,
        look.sharpness,
    )


def _identity(path: Path, file: os.stat_result) -> str:
    # The time of the last change of the inode cannot be set by a program, as the other times can. The path is
    # there as s3fs, gcsfuse and FAT number inodes anew at each mount: a file had the digest of a neighbour
    # whose number it was given. So a file that is moved is read once more.
    of_inode = (file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns)
    parts = (str(path.absolute()), *of_inode)
    return hashlib.sha256(repr(parts).encode()).hexdigest()
