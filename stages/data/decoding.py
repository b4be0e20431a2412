"""Any image file → pixels: what is accepted, and how it is decoded."""

import io
import warnings
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from stages.common.errors import ImageError
from stages.data.similarity import perceptual_hash

Pixels = NDArray[np.uint8]
Color = Literal["rgb", "gray"]

# Formats that photographs and scans come in; Pillow's list has 40 more, each a decoder open to hostile files.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
BACKGROUND = (255, 255, 255)
# By the part of its size that a JPEG is decoded at: libjpeg does less where there is less to see.
_FLAGS = {
    1: cv2.IMREAD_GRAYSCALE,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
REDUCTIONS = tuple(_FLAGS)

# The limit on pixels is a param and holds before anything is decoded; Pillow's own is mostly a warning.
Image.MAX_IMAGE_PIXELS = None
# Stages decode on a thread per core; OpenCV's own threads would only get in their way.
cv2.setNumThreads(1)
# Of broken metadata, which nobody here reads.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True, slots=True)
class Facts:
    """What an image is: upright width and height in pixels, channels in the file, and its decoder.

    `plain` images (8-bit gray or RGB in JPEG or PNG, without transparency) are decoded by OpenCV, four
    times as fast as Pillow; everything else goes through Pillow, which knows about it. `phash` is the upright
    image's perceptual hash, see similarity.py.
    """

    width: int
    height: int
    channels: int
    plain: bool
    phash: int | None


def inspect(data: bytes, max_pixels: int, *, hashed: bool) -> Facts:
    """Decode an image completely, only to know that it can be, and say what it is; `phash` if `hashed`.

    Pillow and not OpenCV: OpenCV returns a truncated JPEG as an image with a gray lower part.
    Raises ImageError with the reason: not an image, broken, truncated, or more than `max_pixels` pixels.
    """
    if not data:
        raise ImageError("the file is empty")
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
        if width * height > max_pixels:
            raise ImageError(f"{width}x{height} pixels are more than the {max_pixels} allowed")
        image.load()
        channels = len(image.getbands())
        if plain := _is_plain(image):
            ImageOps.exif_transpose(image, in_place=True)
        else:
            image = Image.fromarray(_converted(image, "rgb"))
        phash = perceptual_hash(image) if hashed else None
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(f"not an image in one of the formats {', '.join(FORMATS)}") from None
    except Exception as error:
        # Whatever it is: decoders meet broken files with errors of every kind, and one must not stop a stage.
        raise _broken(error) from None
    return Facts(*image.size, channels, plain, phash)


def decode(data: bytes, color: Color, *, plain: bool, reduction: int = 1) -> Pixels:
    """Pixels of an image that `inspect` accepted: uint8, (H, W, 3) in RGB order or (H, W, 1) gray.

    EXIF orientation is applied; transparency is laid on white; 16 bits become the upper 8; of an animation
    the first frame is taken. A plain JPEG comes with its sides divided by `reduction`, one of REDUCTIONS.
    Raises ImageError when the data cannot be decoded after all.
    """
    if plain and (pixels := _with_opencv(data, color, reduction if _is_jpeg(data) else 1)) is not None:
        return pixels
    try:
        return _converted(Image.open(io.BytesIO(data), formats=FORMATS), color)
    except ImageError:
        raise
    except Exception as error:
        raise _broken(error) from None


def _is_jpeg(data: bytes) -> bool:
    """By its first bytes; OpenCV would decode other formats whole, and then leave pixels out."""
    return data.startswith(b"\xff\xd8\xff")


def _is_plain(image: Image.Image) -> bool:
    return (
        image.mode in ("RGB", "L")
        and not image.has_transparency_data
        # OpenCV turns a JPEG as EXIF says, but knows nothing of XMP, where some programs say it.
        and (
            (image.format == "JPEG" and ("xmp" not in image.info or _orientation(image) == 1))
            or (image.format == "PNG" and _orientation(image) == 1)
        )
    )


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _with_opencv(data: bytes, color: Color, reduction: int) -> Pixels | None:
    """None where OpenCV gives up, as it does on a side of more than 2^20 pixels."""
    flag = _FLAGS[reduction] | (cv2.IMREAD_COLOR_RGB if color == "rgb" else 0)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error:
        return None
    return None if pixels is None else _with_channels(pixels)


def _converted(image: Image.Image, color: Color) -> Pixels:
    """Upright, opaque, 8 bits, and in the colours asked for."""
    # By way of RGB, as not every colour space has a way to gray.
    rgb = _opaque(ImageOps.exif_transpose(image)).convert("RGB")
    return _with_channels(np.asarray(rgb if color == "rgb" else rgb.convert("L")))


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _in_8_bits(image)
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, (*BACKGROUND, 255)), layer)


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Pillow's own conversion cuts off everything above 255 instead of scaling."""
    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 0xFFFF:
        raise ImageError("32 bits per pixel have no agreed range; save it with 8 or 16")
    return Image.fromarray((values >> 8).astype(np.uint8))


def _with_channels(pixels: NDArray[np.generic]) -> Pixels:
    array = pixels.astype(np.uint8, copy=False)
    return array if array.ndim == 3 else array[:, :, None]


def _broken(error: Exception) -> ImageError:
    return ImageError(f"broken image: {' '.join(str(error).split()) or type(error).__name__}")
