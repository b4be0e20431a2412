"""The reference page of image formats, written from the table that the tests go by."""

from pathlib import Path

from stages.common.errors import ImageError
from stages.data.decoding import FORMATS, inspect
from tests.data.decoding import test_tiff, tiffs

_SPACES = {tiffs.WHITE_IS_ZERO: "WhiteIsZero", tiffs.BLACK_IS_ZERO: "BlackIsZero", tiffs.RGB: "RGB"}
_ALPHA = {None: "none", 0: "a further channel", 1: "associated alpha", 2: "unassociated alpha"}
_ORDERS = {"<": "little-endian", ">": "big-endian"}
_HEAD = """# Image formats

Accepted: {formats}. [Your own images](../images.md#formats) lists the variants of each that are read,
and how they are converted.
A file's first bytes decide its format, not its name.

## TIFF

Every combination of a row is supported, and has a test with the right values, computed from the tags, and
compared with ImageMagick and libtiff. Compression (none, LZW, Deflate, PackBits, fax, LZMA, Zstandard; JPEG,
PNG, WebP, JPEG 2000, JPEG XL), tiles and strips have tests of their own.

| colours | bits of a sample | stored | alpha | byte order |
|---|---|---|---|---|"""
_REST = """
Also: a palette of 1, 2, 4 or 8 bits; CMYK, YCbCr and CIELab at 8 bits; all eight orientations. The first
page that is no thumbnail is the image.

Refused, in one line:

| TIFF | what is said |
|---|---|"""


def write_image_formats(path: Path) -> None:
    """Write the page."""
    rows = []
    for space, name in _SPACES.items():
        entries = [entry for entry in test_tiff.TABLE if entry[0] == space]
        # A row stands for every combination of its cells.
        columns = [list(dict.fromkeys(column)) for column in list(zip(*entries, strict=True))[1:]]
        depths, planes, alphas, orders = columns
        assert len(entries) == len(depths) * len(planes) * len(alphas) * len(orders)
        cells = (
            map(str, depths),
            ("planes" if separate else "interleaved" for separate in planes),
            (_ALPHA[alpha] for alpha in alphas),
            (_ORDERS[order] for order in orders),
        )
        rows.append(f"| {name} | " + " | ".join(map(", ".join, cells)) + " |")
    refused = [f"| {name} | {_reason(test_tiff.refused(name))} |" for name in test_tiff.REFUSED]
    head = _HEAD.format(formats=", ".join(FORMATS))
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([head, *rows, _REST, *refused]) + "\n", encoding="utf-8")


def _reason(data: bytes) -> str:
    try:
        inspect(data, 10**6, hashed=False)
    except ImageError as error:
        return str(error)
    raise AssertionError("the file is accepted")
