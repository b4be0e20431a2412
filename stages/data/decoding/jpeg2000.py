"""JPEG 2000: its size by the header, and more than 8 bits, whose brightest colours Pillow 13 turns black."""

import struct
from typing import NamedTuple

import numpy as np
from PIL import Image

from stages.common.errors import ImageError
from stages.data.decoding import tones
from stages.data.decoding.boxes import boxes

# The codestream begins with these two markers; the second describes size and components.
_START = b"\xff\x4f\xff\x51"
_LENGTH = 43
_SIGNED = 0x80


class _Header(NamedTuple):
    """Of the codestream; `depth` is the first component's, as stored."""

    size: tuple[int, int]
    channels: int
    depth: int


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels by the codestream, which is what is decoded; zeros where it has none."""
    return _header(data).size


def in_8_bits(image: Image.Image, data: bytes) -> Image.Image:
    """The image, loaded; of more than 8 bits with its samples read by imagecodecs.

    Raises:
        ImageError: Signed samples, or more than 8 bits with alpha.
    """
    header = _header(data)
    bits = (header.depth & ~_SIGNED) + 1
    if header.depth & _SIGNED:
        raise ImageError("a JPEG 2000 of signed samples, which have no agreed range")
    if bits <= 8:
        image.load()
        return image
    if header.channels not in (1, 3) or bits > 16:
        raise ImageError(f"a JPEG 2000 of {header.channels} channels with {bits} bits; save it with 8")
    if header.size != image.size:
        sizes = "{}x{} pixels in its data, {}x{} in its header".format(*header.size, *image.size)
        raise ImageError(f"broken JPEG 2000: {sizes}")
    import imagecodecs

    samples = np.asarray(imagecodecs.jpeg2k_decode(data))
    decoded = Image.fromarray(
        tones.in_8_bits(samples.reshape(samples.shape[:2] + (3,) * (header.channels == 3)), bits)
    )
    decoded.info = image.info
    return decoded


def _header(data: bytes) -> _Header:
    in_box = (body for kind, body in boxes(data) if kind == b"jp2c")
    stream = data if data.startswith(_START) else next(in_box, b"")
    if not stream.startswith(_START) or len(stream) < _LENGTH:
        return _Header((0, 0), 0, 0)
    right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
    channels, depth = struct.unpack_from(">HB", stream, 40)
    return _Header((right - left, bottom - top), channels, depth)
