"""TIFF files by their tags: photometric interpretation, depth, sample format, planes, alpha, pages.

Pillow maps some 100 combinations of tags to its modes and reads others wrongly: 16-bit WhiteIsZero comes out
negative, planar 16-bit RGB as stripes. tifffile gives the samples as stored; this file says what they mean.
Colour spaces other than gray, RGB and palette are left to Pillow and libtiff, at 8 bits.
"""

import io
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.common.errors import ImageError
from stages.data.decoding import orientation, strips, tones
from stages.data.decoding.formats import RAW
from stages.data.decoding.types import Pixels

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WHITE_IS_ZERO, _RGB, _PALETTE = 0, 2, 3
_UNSIGNED = 1
_REDUCED = 1
_ASSOCIATED, _UNASSOCIATED = 1, 2
_PLANES = 2
# CMYK, YCbCr, CIELab.
_PILLOWS = (5, 6, 8)
_COLOR_FILTER = 32803
_ORIENTATION, _SUB_DIRECTORIES, _PROFILE, _DNG_VERSION = 274, 330, 34675, 50706
# The first page that is no thumbnail is among the first; a hostile file may chain millions.
_PAGES = 32
_CHANNELS = 16
# Bytes that the conversion of a pixel takes, and further ones where it is laid on white.
_CONVERSION, _ON_WHITE = 9, 15

# What tifffile would write to standard error about odd tags.
logging.getLogger("tifffile").disabled = True


def is_tiff(data: bytes) -> bool:
    """Whether the data begin as a TIFF or BigTIFF does."""
    return data[:4] in MAGIC


def read(data: bytes, max_pixels: int | None) -> Image.Image:
    """Decode the first page that is no thumbnail.

    Args:
        data: The file.
        max_pixels: More pixels are refused before anything is decoded; None is no limit.

    Returns:
        An upright image with its colour profile in `info`: opaque of mode L or RGB, or in a mode of Pillow's.

    Raises:
        ImageError: Too many pixels, or a combination of tags without an agreed meaning; the message says
            which.
        DamagedError: Strips or tiles are missing, or some of their pixels.
    """
    # Its import takes 30 ms, which stages without a TIFF need not pay.
    from tifffile import TiffFile

    with TiffFile(io.BytesIO(data)) as file:
        page = _page(file)
        tones.check_size(page.imagewidth, page.imagelength, len(data), max_pixels, _memory(page))
        # A tile may be larger than the image.
        tones.check_size(*strips.size(page), len(data), max_pixels, _memory(page))
        strips.check(page, data)
        if max_pixels is not None:
            # An image without a limit was checked before, and the check takes as long as decoding.
            strips.check_jpegs(page, data)
        if int(page.photometric) > _PALETTE:
            return _by_pillow(page, data)
        _check_samples(page)
        strips.check_compression(page)
        samples = page.asarray(maxworkers=1)
        profile, turned = _tag(page, _PROFILE), orientation.valid(_tag(page, _ORIENTATION))
        pixels = orientation.upright(_opaque(page, _channels_last(page, samples)), turned)
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if profile:
        image.info["icc_profile"] = profile
    return image


def _page(file: Any) -> Any:
    """The first page that is no reduced version of another; the first page where all are."""
    first: Any = next(iter(file.pages), None)
    if first is None:
        raise ImageError("broken TIFF: it has no page")
    # Raw files of Nikon, Sony, Pentax and Samsung have a thumbnail here and the sensor's data below it.
    nested = int(first.subfiletype) & _REDUCED and _tag(first, _SUB_DIRECTORIES)
    if nested or _tag(first, _DNG_VERSION) or int(first.photometric) == _COLOR_FILTER:
        raise ImageError(RAW)
    for number, page in enumerate(file.pages):
        if not int(page.subfiletype) & _REDUCED:
            return page
        if number == _PAGES:
            break
    return first


def _check_samples(page: Any) -> None:
    """Refuse what has no agreed meaning in 8 bits, or what tifffile does not read."""
    bits = page.bitspersample
    if isinstance(bits, tuple) and len(set(bits)) > 1:
        raise ImageError(f"a TIFF whose channels have different depths: {bits}")
    layers = max(page.imagedepth, page.tiledepth)
    if page.samplesperpixel > _CHANNELS or layers != 1:
        raise ImageError(f"a TIFF with {page.samplesperpixel} channels and {layers} layers")
    if int(page.sampleformat) != _UNSIGNED or _bits(page) > 16:
        kind = {2: "signed", 3: "floating-point"}.get(int(page.sampleformat), "unsigned")
        raise ImageError(
            f"a TIFF of {kind} samples with {_bits(page)} bits: 32 bits per pixel, signed and floating-point "
            "samples have no agreed range; save it with 8 or 16 unsigned bits"
        )
    if int(page.photometric) == _PALETTE and (page.colormap is None or page.samplesperpixel != 1):
        raise ImageError("a TIFF with a palette that is missing or has further channels")
    if page.samplesperpixel - len(page.extrasamples) != (3 if int(page.photometric) == _RGB else 1):
        raise ImageError(f"a TIFF whose {page.samplesperpixel} channels do not fit its colour space")


def _channels_last(page: Any, samples: NDArray[Any]) -> NDArray[Any]:
    """(H, W, C), whether the file has pixels or planes one after the other."""
    shape = page.imagelength, page.imagewidth
    if page.samplesperpixel == 1:
        return samples.reshape(*shape, 1)
    if int(page.planarconfig) == _PLANES:
        return np.moveaxis(samples.reshape(page.samplesperpixel, *shape), 0, 2)
    return samples.reshape(*shape, page.samplesperpixel)


def _opaque(page: Any, samples: NDArray[Any]) -> Pixels:
    """8 bits, (H, W, 1) or (H, W, 3), on white."""
    if int(page.photometric) == _PALETTE:
        # One bit comes as bool, which would be a mask.
        return np.asarray(_palette(page)[samples[:, :, 0].astype(np.intp)])
    colors = 3 if int(page.photometric) == _RGB else 1
    kinds = [int(kind) for kind in page.extrasamples]
    alpha = next((place for place, kind in enumerate(kinds) if kind in (_ASSOCIATED, _UNASSOCIATED)), None)
    values = _in_8_bits(page, samples[:, :, :colors])
    if int(page.photometric) == _WHITE_IS_ZERO:
        values = 255 - values
    if alpha is None:
        return values
    share = _in_8_bits(page, samples[:, :, colors + alpha])
    return tones.on_white(values, share, premultiplied=kinds[alpha] == _ASSOCIATED)


def _in_8_bits(page: Any, samples: NDArray[Any]) -> Pixels:
    return tones.in_8_bits(samples, _bits(page))


def _palette(page: Any) -> Pixels:
    """The colours (N, 3)."""
    colors = np.asarray(page.colormap).T
    # The specification says 16 bits; old programs write 8, as libtiff knows.
    return np.asarray(colors >> 8 if colors.max() > 255 else colors, np.uint8)


def _bits(page: Any) -> int:
    bits = page.bitspersample
    return int(bits[0] if isinstance(bits, tuple) else bits)


def _memory(page: Any) -> int:
    """Bytes of a pixel while it is decoded: all channels as stored, and what becomes of the colours."""
    stored = page.samplesperpixel * (2 if _bits(page) > 8 else 1)
    return int(stored + _CONVERSION + (_ON_WHITE if page.extrasamples else 0))


def _by_pillow(page: Any, data: bytes) -> Image.Image:
    """Inks, Lab and YCbCr, which libtiff converts."""
    if int(page.photometric) not in _PILLOWS or int(page.sampleformat) != _UNSIGNED:
        raise ImageError(f"a TIFF of a colour space that is not supported: {page.photometric!s}")
    if _bits(page) > 8 and int(page.planarconfig) == _PLANES:
        raise ImageError("a TIFF of inks with more than 8 bits, in planes; save it with 8 bits")
    image = Image.open(io.BytesIO(data), formats=("TIFF",))
    image.seek(page.index)
    # Pillow turns a TIFF when it loads it.
    image.load()
    return image


def _tag(page: Any, number: int) -> Any:
    tag = page.tags.get(number)
    return None if tag is None else tag.value
