"""An image from outside → the pixels that the pipeline makes of the same file."""

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


def prepared(image: Any, resize: Mapping[str, Any], max_pixels: int, *, damaged: bool = False) -> Pixels:
    """Decode one image and bring it to size.

    A path as text is refused: text also arrives over the network, and a server must not open files by it.

    Args:
        image: The bytes of a file, its path as a pathlib.Path, or pixels: uint8 (H, W), (H, W, 1) gray or
            (H, W, 3) RGB.
        resize: The params of the stage `resize`.
        max_pixels: The largest number of pixels that is decoded.
        damaged: Whether to accept a JPEG whose decoder has to guess pixels.

    Returns:
        The pixels, uint8 (H, W, C), in the size that `resize` says.

    Raises:
        ImageError: With the reason, for what is no image, too large or damaged.
    """
    height, width = resize["size"]
    view = View(height, width, resize["color"], resize["keep_aspect"], resize["quality"])
    if isinstance(image, np.ndarray):
        pixels = _from_array(image, view.color, max_pixels)
        return to_size(pixels, height, width, keep_aspect=view.keep_aspect, quality=view.quality)
    data = _read(image)
    # The inspection of `ingest`, so that a truncated file is refused here as it is there.
    facts = decoding.inspect(data, max_pixels, hashed=False, damaged=damaged)
    return view.apply(data, facts.height, facts.width, plain=facts.plain)


def _read(image: Any) -> bytes:
    if isinstance(image, Path):
        try:
            if image.stat().st_size > MAX_BYTES:
                raise ImageError(TOO_LARGE)
            return image.read_bytes()
        except OSError as error:
            raise ImageError(f"cannot be read: {error.strerror}") from None
    if not isinstance(image, bytes | bytearray):
        raise ImageError(
            f"is a {type(image).__name__}; must be an image file's bytes (base64 in JSON), a pathlib.Path, "
            "or a uint8 array"
        )
    if len(image) > MAX_BYTES:
        raise ImageError(TOO_LARGE)
    return bytes(image)


def _from_array(array: np.ndarray[Any, Any], color: Color, max_pixels: int) -> Pixels:
    pixels = array[:, :, None] if array.ndim == 2 else array
    if array.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
        raise ImageError(f"is an array {array.dtype}{array.shape}; must be uint8 (H, W), (H, W, 1 or 3)")
    if pixels.shape[0] * pixels.shape[1] > max_pixels:
        raise ImageError(f"{pixels.shape[1]}x{pixels.shape[0]} pixels are more than the {max_pixels} allowed")
    channels = 3 if color == "rgb" else 1
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, None].astype(np.uint8, copy=False)
