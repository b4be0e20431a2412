"""The last run's resized images, so that a run after adding one image decodes one image.

A hard link beside the output: it costs no disk, survives DVC's removal of outputs before a run, and is not
part of the output. Where the file system has no hard links, every run decodes everything. The alternative,
DVC's `persist: true`, keeps the old output in place but switches off DVC's run cache for the stage, and with
it the restoring of finished stages in other clones.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import PIL
from numpy.typing import NDArray

from stages.common.errors import StoreError
from stages.common.files import digest, read_json, write_json
from stages.data import decoding, sizing
from stages.data.store import Reader


class Resized(NamedTuple):
    """Pixels (H, W, C) uint8, and per channel the sums of the values and of their squares, int64 (C,)."""

    pixels: NDArray[np.uint8]
    sums: NDArray[np.int64]
    squares: NDArray[np.int64]


class Known:
    """Images by id from a finished file, or nothing."""

    def __init__(self, reader: Reader | None) -> None:
        self._reader = reader
        self._place = {identity: row for row, identity in enumerate(reader.ids.tolist())} if reader else {}

    def get(self, identity: str) -> Resized | None:
        """An image that was resized before, or None when it is not here or damaged."""
        place = self._place.get(identity)
        if place is None or self._reader is None:
            return None
        try:
            pixels: NDArray[np.uint8] = self._reader.read(place, place + 1)[0]
            sums, squares = (self._reader.column(name)[place] for name in ("sums", "squares"))
        except StoreError:
            return None
        return Resized(pixels, sums, squares)


@contextmanager
def last(output: Path, provenance: dict[str, Any]) -> Iterator[Known]:
    """The images that `remember` kept for this output, if they were made with the same params and code."""
    kept, code = _beside(output)
    try:
        usable = read_json(code) == _fingerprint()
        reader = Reader(kept) if usable else None
    except (StoreError, OSError, ValueError):
        reader = None
    if reader is None:
        yield Known(None)
        return
    with reader:
        yield Known(reader if reader.provenance == provenance else None)


def remember(output: Path) -> None:
    """Keep a finished output for the next run's `last`."""
    kept, code = _beside(output)
    # In this order: a kill in between leaves a file without its fingerprint, which `last` passes over.
    code.unlink(missing_ok=True)
    kept.unlink(missing_ok=True)
    try:
        os.link(output, kept)
    except OSError:
        return
    write_json(code, _fingerprint())


def _beside(output: Path) -> tuple[Path, Path]:
    return output.with_name(f".{output.name}.last"), output.with_name(f".{output.name}.last.json")


def _fingerprint() -> dict[str, str]:
    """What decides the pixels besides the params: the code that decodes and the libraries under it."""
    return {
        "images": digest(Path(decoding.__file__)),
        "sizing": digest(Path(sizing.__file__)),
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
    }
