"""The strips and tiles of a TIFF file: whether all are there, and all of their pixels.

tifffile fills what is missing with black. libjpeg fills it with gray, as jpeg.py says.
"""

from collections.abc import Iterator
from math import prod
from typing import Any

from stages.common.errors import DamagedError, ImageError
from stages.data.decoding import jpeg

_JPEG = 7
_INKS = 4


def check(page: Any, data: bytes) -> None:
    """Raise DamagedError where a strip or tile is not listed, has no byte or is not all within the file."""
    places, counts = page.dataoffsets, page.databytecounts
    missing = min(len(places), len(counts)) < prod(page.chunked)
    ends = zip(places, counts, strict=False)
    if missing or any(count <= 0 or start + count > len(data) for start, count in ends):
        raise DamagedError("damaged TIFF: strips or tiles are missing")


def check_jpegs(page: Any, data: bytes) -> None:
    """Raise DamagedError where libjpeg would have to guess pixels of a strip or tile."""
    if int(page.compression) != _JPEG:
        return
    mode = "CMYK" if page.shaped[-1] == _INKS else "L"
    for strip in _strips(page, data):
        try:
            jpeg.check(jpeg.with_tables(strip, page.jpegtables), mode)
        except DamagedError:
            raise
        except ImageError:
            # 12 bits or lossless: only tifffile's decoders read it.
            return


def _strips(page: Any, data: bytes) -> Iterator[bytes]:
    for start, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        yield data[start : start + count]
