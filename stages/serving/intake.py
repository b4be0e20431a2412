"""What people hand in as an image → pixels as the pipeline would have made them of the same file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stages.common.errors import ImageError
from stages.data import decoding
from stages.data.decoding import Color, Pixels
from stages.data.sizing import View, to_size
from stages.data.sources import MAX_BYTES, TOO_LARGE


def prepared(given: Any, resize: Mapping[str, Any], max_pixels: int, *, damaged: bool = False) -> Pixels:
    """One image, uint8 (H, W, C), decoded and brought to size as `resize` (the stage's params) says.

    `given` is a file's bytes, its path as a pathlib.Path, or its pixels: uint8, (H, W), (H, W, 1) gray or
    (H, W, 3) RGB. A path given as text is refused: text comes in over the network too, and a server must not
    open files by it.
    Raises ImageError with the reason when it is no image, has more than `max_pixels` pixels, or is damaged
    and `damaged` is false.
    """
    height, width = resize["size"]
    view = View(height, width, resize["color"], resize["keep_aspect"], resize["quality"])
    if isinstance(given, np.ndarray):
        pixels = _from_array(given, view.color, max_pixels)
        return to_size(pixels, height, width, keep_aspect=view.keep_aspect, quality=view.quality)
    data = _read(given)
    # The same look that ingest takes, so that a truncated file is refused here as it is there.
    facts = decoding.inspect(data, max_pixels, hashed=False, damaged=damaged)
    return view.of(data, facts.height, facts.width, plain=facts.plain)


def _read(given: Any) -> bytes:
    if isinstance(given, Path):
        try:
            if given.stat().st_size > MAX_BYTES:
                raise ImageError(TOO_LARGE)
            return given.read_bytes()
        except OSError as error:
            raise ImageError(f"cannot be read: {error.strerror}") from None
    if not isinstance(given, bytes | bytearray):
        raise ImageError(
            f"is a {type(given).__name__}; must be an image file's bytes (base64 in JSON), a pathlib.Path, "
            "or a uint8 array"
        )
    if len(given) > MAX_BYTES:
        raise ImageError(TOO_LARGE)
    return bytes(given)


def _from_array(given: np.ndarray[Any, Any], color: Color, max_pixels: int) -> Pixels:
    pixels = given[:, :, None] if given.ndim == 2 else given
    if given.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
        raise ImageError(f"is an array {given.dtype}{given.shape}; must be uint8 (H, W), (H, W, 1 or 3)")
    if pixels.shape[0] * pixels.shape[1] > max_pixels:
        raise ImageError(f"{pixels.shape[1]}x{pixels.shape[0]} pixels are more than the {max_pixels} allowed")
    channels = 3 if color == "rgb" else 1
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, None].astype(np.uint8, copy=False)
