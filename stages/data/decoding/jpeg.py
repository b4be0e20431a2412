"""JPEG files: their pixels, and whether the decoder had to guess any of them.

libjpeg fills in what is missing, prints a warning and reports success. Pillow and OpenCV pass that on: of 120
photographs cut at 60 % and closed with an end marker, Pillow 13 accepts all. simplejpeg (libjpeg-turbo) can
stop at the first warning. Its pixels equal those of Pillow and OpenCV, in less time.

A file that is syntactically whole is not damaged for any decoder: of 120 files made of two halves, 2 have by
chance exactly the right number of blocks.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import simplejpeg

from stages.common.errors import DamagedError, ImageError
from stages.data.decoding.types import Color, Pixels

MAGIC = b"\xff\xd8\xff"
# A JPEG can be decoded at these parts of its sides: libjpeg does less where there is less to see.
REDUCTIONS = (1, 2, 4, 8)
_SPACES = {"rgb": "RGB", "gray": "GRAY", "cmyk": "CMYK"}
_END, _SCAN = b"\xff\xd9", 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Each scan of a progressive JPEG goes over all pixels, and one without data takes 16 bytes: 400 of them over
# 2048 x 2048 pixels, 23 kB, took 1.3 s at each try. Encoders write some twenty at most.
_MOST_SCANS = 100
# Fill bytes, TEM and restart markers.
_WITHOUT_LENGTH = frozenset((0x00, 0x01, 0xFF, *range(0xD0, 0xD8)))
# simplejpeg names no sampling but the usual seven; libjpeg, and so Pillow, decodes any.
_UNUSUAL_SAMPLING = "subsampling"


class _Segment(NamedTuple):
    kind: int
    start: int
    stop: int


def is_jpeg(data: bytes) -> bool:
    """Whether the data begin as a JPEG does."""
    return data.startswith(MAGIC)


def decode(data: bytes, color: Color, size: tuple[int, int], reduction: int = 1) -> Pixels | None:
    """Decode a JPEG as stored, without EXIF orientation, whatever is missing in it.

    Args:
        data: The file.
        color: `rgb` or `gray`; gray is the file's luminance.
        size: Stored width and height in pixels.
        reduction: What to divide both sides by, one of REDUCTIONS.

    Returns:
        uint8 (H, W, 3) or (H, W, 1), or None for a file that only Pillow decodes.
    """
    width, height = (-(-side // reduction) if reduction > 1 else 0 for side in size)
    least = {"min_width": width, "min_height": height, "min_factor": reduction}
    with suppress(ValueError):
        return _pixels(data, _SPACES[color], strict=False, **least)
    # A warning about the header stops simplejpeg even where it is not strict.
    with suppress(ValueError):
        return _pixels(_without_oddities(data), _SPACES[color], strict=False, **least)
    return None


def check(data: bytes, mode: str) -> Pixels | None:
    """Decode a JPEG and make sure that no pixel is a guess.

    Oddities that cost no pixel are accepted: bytes between the segments of the header, zeros before the end
    marker, a missing end marker.

    Args:
        data: The file.
        mode: Pillow's mode of the image: L, RGB or CMYK.

    Returns:
        uint8 as stored: (H, W, 1) for L, (H, W, 3) for RGB, (H, W, 4) for CMYK; None for a chroma sampling
        that simplejpeg does not know, where the check is Pillow's own.

    Raises:
        DamagedError: libjpeg had to guess pixels; the message is libjpeg's.
        ImageError: libjpeg cannot decode the data at all, or they have more scans than any encoder writes.
    """
    check_scans(data)
    space = _SPACES[{"L": "gray", "CMYK": "cmyk"}.get(mode, "rgb")]
    try:
        return _pixels(data, space, strict=True)
    except ValueError as error:
        if _UNUSUAL_SAMPLING in str(error):
            return None
        problem = str(error)
    tidy = _without_oddities(data)
    with suppress(ValueError):
        return _pixels(tidy, space, strict=True)
    for attempt in (data, tidy):
        with suppress(ValueError):
            _pixels(attempt, space, strict=False)
            raise DamagedError(f"damaged JPEG: {problem}")
    raise ImageError(f"broken JPEG: {problem}")


def check_scans(data: bytes) -> None:
    """Raise ImageError for more scans than any encoder writes."""
    # 0xFF 0xDA begins a scan, and is nowhere in a scan's data.
    if (scans := data.count(bytes((0xFF, _SCAN)))) > _MOST_SCANS:
        raise ImageError(f"JPEG of {scans} scans; allowed: {_MOST_SCANS}")


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels by the header; zeros where it has no frame or several."""
    frames = [segment.start for segment in _segments(data) if segment.kind in _FRAMES]
    if len(frames) != 1 or frames[0] + 9 > len(data):
        return 0, 0
    height, width = struct.unpack_from(">HH", data, frames[0] + 5)
    return width, height


def with_tables(data: bytes, tables: bytes | None) -> bytes:
    """A JPEG of a TIFF file as a whole file, with the tables that all strips or tiles share."""
    return tables.removesuffix(_END) + data[2:] if tables else data


def _pixels(data: bytes, space: str, *, strict: bool, **least: int) -> Pixels:
    return np.asarray(simplejpeg.decode_jpeg(data, space, strict=strict, **least))


def _without_oddities(data: bytes) -> bytes:
    """The same image with only segments before the scan, no padding after it, and an end marker."""
    header, place = _header(data)
    end = data.rfind(_END, place)
    scan = data[place : end if end >= 0 else len(data)].rstrip(b"\0")
    return header + scan + _END


def _header(data: bytes) -> tuple[bytes, int]:
    """The segments up to and with the first start of scan, and the place where the scan's data begin."""
    parts, place = [data[:2]], 2
    for segment in _segments(data):
        parts.append(data[segment.start : segment.stop])
        place = segment.stop
    return b"".join(parts), place


def _segments(data: bytes) -> Iterator[_Segment]:
    """The segments as libjpeg reads them, which skips what is between them."""
    place = 2
    while (marker := data.find(b"\xff", place)) >= 0 and marker + 4 <= len(data):
        kind = data[marker + 1]
        if kind in _WITHOUT_LENGTH:
            place = marker + 1
            continue
        if kind == _END[1]:
            return
        place = marker + 2 + int.from_bytes(data[marker + 2 : marker + 4], "big")
        yield _Segment(kind, marker, place)
        if kind == _SCAN:
            return
