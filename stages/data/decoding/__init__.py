"""Any image file → pixels: what is accepted, and how it is decoded.

Every stage and the served model decode by this package, so one reader decides orientation, size, pixels and
hashes. `inspect` decides whether a file is accepted; `decode` gives the pixels of an accepted file.

    formats                      what is accepted, and by which decoder
    jpeg, jpeg_xl, jpeg2000, png, tiff
                                 what these formats need beyond Pillow
    strips                       whether a TIFF has all of its pixels and no more
    boxes                        what HEIC, AVIF, JPEG 2000 and JPEG XL files consist of
    orientation                  upright
    profiles, cicp               sRGB, from a profile or from numbers
    tones                        8 bits, on white
"""

import io
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from stages.common.errors import DamagedError, ImageError
from stages.data.decoding import cicp, jpeg, jpeg2000, jpeg_xl, png, profiles, tiff, tones
from stages.data.decoding.formats import FORMATS, open_image, refuse_raw, versions
from stages.data.decoding.jpeg import REDUCTIONS
from stages.data.decoding.orientation import UPRIGHT, orientation, upright
from stages.data.decoding.types import Color, Pixels
from stages.data.similarity import perceptual_hash

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "REDUCTIONS",
    "Color",
    "Facts",
    "Pixels",
    "decode",
    "examine",
    "inspect",
    "versions",
]

# The limit for images that a user names on a command line; of a source, it is the param ingest.max_pixels.
MAX_PIXELS = 200_000_000
# The limit on pixels is a param and holds before anything is decoded; Pillow's own is mostly a warning.
Image.MAX_IMAGE_PIXELS = None
# Stages decode on a thread per core; OpenCV's own threads would only get in their way.
cv2.setNumThreads(1)
# Warnings about broken metadata, which no stage reads.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True, slots=True)
class Facts:
    """What `inspect` says of an accepted image.

    Attributes:
        width: Pixels, upright.
        height: Pixels, upright.
        channels: Channels in the file; of a TIFF, without alpha.
        plain: Whether the file is a JPEG or an undamaged PNG of 8-bit gray or RGB, stored upright, opaque, in
            sRGB: then libjpeg or OpenCV decode it directly.
        phash: The perceptual hash of the upright image, see similarity.py; None without `hashed`.
        damage: Why pixels of the image are guesses, or None; only where damaged images are accepted.
    """

    width: int
    height: int
    channels: int
    plain: bool
    phash: int | None
    damage: str | None = None


def inspect(data: bytes, max_pixels: int, *, hashed: bool, damaged: bool = False) -> Facts:
    """Decode an image completely, only to make sure that it can be, and say what it is: see `examine`."""
    return examine(data, max_pixels, hashed=hashed, damaged=damaged)[0]


def examine(
    data: bytes, max_pixels: int, *, hashed: bool, damaged: bool = False
) -> tuple[Facts, Image.Image]:
    """Decode an image completely, and say what it is.

    Args:
        data: The file.
        max_pixels: Images with more are refused before they are decoded.
        hashed: Whether to compute the perceptual hash.
        damaged: Whether to accept a JPEG or PNG some of whose pixels are the decoder's guesses.

    Returns:
        The facts and the image, of mode L or RGB: converted to RGB, its pixels are those of `decode`.

    Raises:
        DamagedError: The decoder has to guess pixels.
        ImageError: Not an image, broken, or more than `max_pixels` pixels; the message is the reason.
    """
    if not data:
        raise ImageError("the file is empty")
    try:
        image = _open(data, max_pixels)
        plain, channels = _is_plain(image, data), len(image.getbands())
        damage = None
        try:
            final = _finished(image, data, strict=True)
        except DamagedError as error:
            if not damaged:
                raise
            damage, final = str(error), _finished(image, data, strict=False)
            # OpenCV takes the memory that a chunk of a PNG claims: 2 GiB for a file of 12 kB.
            plain = plain and jpeg.is_jpeg(data)
        phash = perceptual_hash(final) if hashed else None
    except (ImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise ImageError(f"not an image in one of the formats {', '.join(FORMATS)}") from None
    except Exception as error:
        # Decoders meet broken files with errors of every kind, and one file must not stop a stage.
        raise _broken(error) from None
    return Facts(*final.size, channels, plain, phash, damage), final


def decode(data: bytes, color: Color, *, plain: bool, reduction: int = 1) -> Pixels:
    """Decode an image that `inspect` accepted.

    EXIF orientation is applied; colours become sRGB; transparency is laid on white; 16 bits become the upper
    8; of an animation or several pages the first is taken.

    Args:
        data: The file.
        color: `rgb` or `gray`.
        plain: As `inspect` said.
        reduction: Part of its sides that a plain JPEG is decoded at, one of REDUCTIONS.

    Returns:
        uint8, (H, W, 3) in RGB order or (H, W, 1) gray.

    Raises:
        ImageError: The data cannot be decoded after all.
    """
    try:
        if plain and (pixels := _directly(data, color, reduction)) is not None:
            return pixels
        final = _finished(_open(data), data, strict=False, reduction=reduction)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise _broken(error) from None
    return _with_channels(np.asarray(final.convert("RGB" if color == "rgb" else "L")))


def _open(data: bytes, max_pixels: int | None = None) -> Image.Image:
    """Pillow's image, not loaded; of a TIFF the whole image, loaded and upright."""
    refuse_raw(data)
    if tiff.is_tiff(data):
        image = tiff.read(data, max_pixels)
    else:
        if jpeg_xl.is_jpeg_xl(data):
            tones.check_size(*jpeg_xl.size(data), len(data), max_pixels)
        image = open_image(data)
        tones.check_size(*image.size, len(data), max_pixels)
    cicp.apply(image, data)
    return image


def _is_plain(image: Image.Image, data: bytes) -> bool:
    return (
        (jpeg.is_jpeg(data) or png.is_png(data))
        and image.mode in ("RGB", "L")
        and not image.has_transparency_data
        and orientation(image) == UPRIGHT
        and not profiles.needs_conversion(image)
    )


def _finished(image: Image.Image, data: bytes, *, strict: bool, reduction: int = 1) -> Image.Image:
    """Upright, opaque, 8 bits, in sRGB: of mode L or RGB."""
    if tiff.is_tiff(data):
        # Upright already.
        turned = UPRIGHT
    else:
        turned = orientation(image)
        image = _loaded(image, data, strict=strict, reduction=reduction)
    final = profiles.in_srgb(_opaque(image))
    if final.mode not in ("L", "RGB"):
        final = final.convert("RGB")
    return final if turned == UPRIGHT else Image.fromarray(upright(np.asarray(final), turned))


def _opaque(image: Image.Image) -> Image.Image:
    """The image without transparency, in a mode that `profiles` converts, with its profile."""
    opaque = tones.opaque(image)
    if opaque.mode not in ("L", "RGB", "CMYK"):
        opaque = opaque.convert("RGB")
    if opaque is not image and (profile := image.info.get("icc_profile")):
        opaque.info["icc_profile"] = profile
    return opaque


def _loaded(image: Image.Image, data: bytes, *, strict: bool, reduction: int) -> Image.Image:
    """The pixels as stored."""
    if jpeg.is_jpeg(data):
        return _jpeg(image, data, strict=strict, reduction=reduction)
    if image.format == "JPEG2000":
        return jpeg2000.in_8_bits(image, data)
    if not png.is_png(data):
        image.load()
        return image
    if strict:
        png.check(data)
    image.load()
    return png.with_transparency(image, data)


def _jpeg(image: Image.Image, data: bytes, *, strict: bool, reduction: int) -> Image.Image:
    """By Pillow where only Pillow decodes the file."""
    gray, direct = image.mode == "L", image.mode in ("L", "RGB")
    pixels = None
    if strict:
        pixels = jpeg.check(data, image.mode)
    elif direct:
        pixels = jpeg.decode(data, "gray" if gray else "rgb", image.size, reduction)
    if pixels is None or not direct:
        image.load()
        return image
    decoded = Image.fromarray(pixels[:, :, 0] if gray else pixels)
    decoded.info = image.info
    return decoded


def _directly(data: bytes, color: Color, reduction: int) -> Pixels | None:
    """A plain image without Pillow; None where that is not possible."""
    if jpeg.is_jpeg(data):
        size = Image.open(io.BytesIO(data), formats=("JPEG",)).size if reduction > 1 else (0, 0)
        return jpeg.decode(data, color, size, reduction)
    flag = cv2.IMREAD_COLOR_RGB if color == "rgb" else cv2.IMREAD_GRAYSCALE
    try:
        pixels = cv2.imdecode(np.frombuffer(png.bare(data), np.uint8), flag)
    except cv2.error:
        # OpenCV gives up on a side of more than 2^20 pixels.
        return None
    return None if pixels is None else _with_channels(pixels)


def _with_channels(pixels: NDArray[np.generic]) -> Pixels:
    array = pixels.astype(np.uint8, copy=False)
    return array if array.ndim == 3 else array[:, :, None]


def _broken(error: Exception) -> ImageError:
    return ImageError(f"broken image: {' '.join(str(error).split()) or type(error).__name__}")
