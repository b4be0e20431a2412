"""Samples of any depth, with or without alpha → 8 bits on white."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.common.errors import ImageError
from stages.data.decoding.types import Pixels

BACKGROUND = (255, 255, 255)
# What decoding takes of a pixel in most formats; these pixels take less than 1 GiB.
_BYTES = 12
_HARMLESS_PIXELS = 2**26
# Photographs have 1 to 10 pixels a byte, blank pages some hundreds.
_PIXELS_PER_BYTE = 64


def check_size(width: int, height: int, size: int, max_pixels: int | None, memory: int = _BYTES) -> None:
    """Refuse an image by its header, before its pixels take memory.

    Args:
        width: Pixels.
        height: Pixels.
        size: Bytes of the file.
        max_pixels: The limit; None is none, for an image that was accepted before.
        memory: Bytes that decoding takes of a pixel.

    Raises:
        ImageError: No pixel, more than `max_pixels`, or a file that is too small for so many.
    """
    if width < 1 or height < 1:
        raise ImageError(f"an image of {width}x{height} pixels")
    if max_pixels is not None and width * height > max_pixels:
        raise ImageError(f"{width}x{height} pixels are more than the {max_pixels} allowed")
    harmless = max(_HARMLESS_PIXELS, _PIXELS_PER_BYTE * size)
    if max_pixels is not None and width * height * memory > harmless * _BYTES:
        raise ImageError(f"{width}x{height} pixels in {size} bytes: a decompression bomb")


def in_8_bits(samples: NDArray[Any], bits: int) -> Pixels:
    """Unsigned samples of `bits` bits as uint8: the upper 8 bits; fewer bits are spread over 0 to 255."""
    if bits == 8:
        return np.asarray(samples, np.uint8)
    if bits > 8:
        return np.asarray(samples >> (bits - 8), np.uint8)
    return np.asarray(samples.astype(np.uint16) * 255 // (2**bits - 1), np.uint8)


def on_white(samples: Pixels, alpha: Pixels, *, premultiplied: bool) -> Pixels:
    """Lay (H, W, C) on white by an alpha (H, W); `premultiplied` samples are multiplied by alpha already."""
    share = alpha[:, :, None].astype(np.uint16)
    # Rounded division by 255.
    light = samples.astype(np.uint16) if premultiplied else (samples * share + 127) // 255
    return np.asarray(np.minimum(light + 255 - share, 255), np.uint8)


def opaque(image: Image.Image) -> Image.Image:
    """An image of any mode of Pillow's without transparency and in 8 bits; what is transparent is white.

    Raises:
        ImageError: The samples have no agreed range.
    """
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow's own conversion cuts off everything above 255 instead of scaling.
        values = np.asarray(image)
        if values.dtype.kind == "f" or values.min() < 0 or values.max() > 0xFFFF:
            raise ImageError("32 bits per pixel have no agreed range; save it with 8 or 16")
        return Image.fromarray((values >> 8).astype(np.uint8))
    if not image.has_transparency_data:
        return image
    if image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        # Programs that know no alpha write 0 into the unused byte; nobody saves an invisible image.
        return image.convert("RGB")
    # By way of RGBA, as premultiplied gray has no way of its own.
    layer = image.convert("RGBA") if image.mode != "La" else image.convert("LA").convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, (*BACKGROUND, 255)), layer)
