"""The strips and tiles of a TIFF file: whether all are there, with all of their pixels and no more.

tifffile fills what is missing with black, and libjpeg fills it with gray, as jpeg.py says. Of a strip that is
an image file of its own, decoders take the size from the strip: one of 3 kB takes 400 MiB.
"""

import io
import struct
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from math import prod
from typing import Any

from PIL import Image, UnidentifiedImageError

from stages.common.errors import DamagedError, ImageError
from stages.data.decoding import jpeg, jpeg2000, jpeg_xl

_JPEG = 7
_INKS = 4
# None, three of fax, LZW, Deflate, PackBits, LZMA, Zstandard: tifffile limits what they give.
_STREAMS = (1, 2, 3, 4, 5, 8, 32946, 32773, 34925, 34926, 50000)


def check(page: Any, data: bytes) -> None:
    """Look at the list of strips or tiles, and at their headers, before any is decoded.

    Raises:
        DamagedError: One is not listed, has no byte, is not all within the file or is of another size.
    """
    places, counts = page.dataoffsets, page.databytecounts
    missing = min(len(places), len(counts)) < prod(page.chunked)
    ends = zip(places, counts, strict=False)
    if missing or any(count <= 0 or start + count > len(data) for start, count in ends):
        raise DamagedError("damaged TIFF: strips or tiles are missing")
    size_of = _SIZES.get(int(page.compression))
    if size_of:
        for strip, sizes in zip(_strips(page, data), _sizes(page), strict=False):
            if size_of(strip) not in sizes:
                raise DamagedError("damaged TIFF: a strip or tile is an image of another size")


def check_jpegs(page: Any, data: bytes) -> None:
    """Raise DamagedError where libjpeg would have to guess pixels of a strip or tile.

    Raises:
        ImageError: One has more scans than any encoder writes.
    """
    if int(page.compression) != _JPEG:
        return
    mode = "CMYK" if page.shaped[-1] == _INKS else "L"
    for strip in _strips(page, data):
        merged = jpeg.with_tables(strip, page.jpegtables)
        if jpeg.size(merged) != jpeg.size(strip):
            raise DamagedError("damaged TIFF: its JPEG tables hold more than tables")
        jpeg.check_scans(merged)
        try:
            jpeg.check(merged, mode)
        except DamagedError:
            raise
        except ImageError:
            # 12 bits or lossless: only tifffile's decoders read it.
            return


def check_compression(page: Any) -> None:
    """Raise ImageError where tifffile's decoder could take any memory, or there is none."""
    if int(page.compression) not in (*_STREAMS, *_SIZES):
        raise ImageError(f"a TIFF of a compression that is not supported: {page.compression!s}")


def size(page: Any) -> tuple[int, int]:
    """Width and length of a whole strip or tile in pixels."""
    return (page.tilewidth, page.tilelength) if page.is_tiled else (page.imagewidth, page.rowsperstrip)


def _strips(page: Any, data: bytes) -> Iterator[bytes]:
    for start, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        yield data[start : start + count]


def _sizes(page: Any) -> Iterator[set[tuple[int, int]]]:
    """The sizes that each may have: at the image's right and lower edge also what is left of it."""
    width, length = size(page)
    tops, lefts = range(0, page.imagelength, length), range(0, page.imagewidth, width)
    for _, top, left in product(range(page.shaped[0]), tops, lefts):
        widths, lengths = (width, page.imagewidth - left), (length, page.imagelength - top)
        yield {(min(w, width), min(h, length)) for w, h in product(widths, lengths)}


def _png_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16) if len(data) >= 24 else (0, 0)
    return width, height


def _webp_size(data: bytes) -> tuple[int, int]:
    try:
        return Image.open(io.BytesIO(data), formats=("WEBP",)).size
    except UnidentifiedImageError:
        return 0, 0


_WEBPS, _JPEGS_2000, _JPEGS_XL = (34927, 50001), (33003, 33004, 33005, 34712), (50002, 52546)
_SIZES: Mapping[int, Callable[[bytes], tuple[int, int]]] = {
    _JPEG: jpeg.size,
    34933: _png_size,
    **dict.fromkeys(_WEBPS, _webp_size),
    **dict.fromkeys(_JPEGS_2000, jpeg2000.size),
    **dict.fromkeys(_JPEGS_XL, jpeg_xl.size),
}
