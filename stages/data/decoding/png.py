"""What Pillow and OpenCV get wrong in a PNG file: checksums, odd transparent colours, gray, animations."""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.common.errors import DamagedError, ImageError

MAGIC = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB = 0, 2


class _Chunk(NamedTuple):
    kind: bytes
    start: int
    stop: int


def is_png(data: bytes) -> bool:
    """Whether the data begin as a PNG does."""
    return data.startswith(MAGIC)


def check(data: bytes) -> None:
    """Compare the checksums of all chunks that pixels depend on.

    Pillow reads pixel data without a look at their checksums, so that one wrong bit can become another
    image.

    Raises:
        DamagedError: A checksum is wrong, or the file ends early.
    """
    last = b""
    for chunk in _chunks(data):
        last = chunk.kind
        needed = _is_critical(chunk) or chunk.kind == b"tRNS"
        if chunk.stop + 4 > len(data):
            raise DamagedError(f"damaged PNG: chunk {_name(chunk)} is cut off")
        checksum = int.from_bytes(data[chunk.stop : chunk.stop + 4], "big")
        if needed and zlib.crc32(memoryview(data)[chunk.start - 4 : chunk.stop]) != checksum:
            raise DamagedError(f"damaged PNG: chunk {_name(chunk)} has a wrong checksum")
        if chunk.kind == b"IEND":
            return
    raise DamagedError(f"damaged PNG: it ends after chunk {last.decode('latin-1') or 'none'}")


def content(data: bytes, kind: bytes) -> bytes:
    """The content of the first chunk of a kind; empty without one."""
    return next((data[chunk.start : chunk.stop] for chunk in _chunks(data) if chunk.kind == kind), b"")


def bare(data: bytes) -> bytes:
    """The image by its critical chunks alone, for OpenCV.

    With gAMA or sRGB, libpng turns colours into gray in linear light: pure red is 147, and 76 without. Of an
    animation whose default image is none of its frames, OpenCV takes the first frame and Pillow the default
    image.
    """
    view = memoryview(data)
    parts = (view[chunk.start - 8 : chunk.stop + 4] for chunk in _chunks(data) if _is_critical(chunk))
    return b"".join((MAGIC, *parts))


def with_transparency(image: Image.Image, data: bytes) -> Image.Image:
    """Give an image of few or many bits the transparent colour that its file names.

    The file names the colour in its own depth: 0 to 3 with 2 bits, 0 to 65,535 with 16. Pillow compares it
    with pixels that it has brought to 8 bits.

    Args:
        image: Pillow's image, loaded.
        data: The file.

    Returns:
        The image itself, or one of mode LA or RGBA.

    Raises:
        ImageError: The pixels cannot be read at their full depth.
    """
    depth, kind = data[24], data[25]
    key = content(data, b"tRNS")
    samples = {_GRAY: 1, _RGB: 3}.get(kind, 0)
    if not samples or len(key) < 2 * samples or depth in (1, 8):
        return image
    color = np.frombuffer(key, ">u2", samples)
    if depth < 8:
        image.info["transparency"] = int(color[0]) * 255 // (2**depth - 1)
        return image
    pixels = _in_16_bits(data)
    alpha = np.where((pixels == color).all(axis=2), 0, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([(pixels >> 8).astype(np.uint8), alpha]))


def _in_16_bits(data: bytes) -> NDArray[np.uint16]:
    """All 16 bits of each sample (H, W, C), RGB; OpenCV, as Pillow has no mode for them."""
    pixels = cv2.imdecode(np.frombuffer(bare(data), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ImageError("a PNG of 16 bits with a transparent colour that cannot be decoded")
    return np.asarray(pixels[:, :, None] if pixels.ndim == 2 else pixels[:, :, ::-1], np.uint16)


def _chunks(data: bytes) -> Iterator[_Chunk]:
    place = len(MAGIC)
    while place + 8 <= len(data):
        start = place + 8
        stop = start + int.from_bytes(data[place : place + 4], "big")
        yield _Chunk(data[place + 4 : start], start, stop)
        place = stop + 4


def _is_critical(chunk: _Chunk) -> bool:
    """Whether no decoder can do without the chunk: its name begins with an uppercase letter."""
    return chunk.kind[:1].isupper()


def _name(chunk: _Chunk) -> str:
    return chunk.kind.decode("latin-1").encode("ascii", "backslashreplace").decode()
