"""Any picture file → pixels: what is accepted, how it is decoded, and how it is brought to one size."""

import io
import struct
import warnings
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from stages.errors import PictureError

Pixels = NDArray[np.uint8]
Color = Literal["rgb", "gray"]

# Formats that photographs and scans come in; Pillow's list has 40 more, each a decoder open to hostile files.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 200_000_000
BACKGROUND = (255, 255, 255)

_ORIENTATION = 0x0112
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, KeyError, OverflowError)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a picture is: upright width and height in pixels, channels in the file, and its decoder.

    `plain` pictures (8-bit gray or RGB in JPEG or PNG, without transparency) are decoded by OpenCV, four
    times as fast as Pillow; everything else goes through Pillow, which knows about it.
    """

    width: int
    height: int
    channels: int
    plain: bool


def inspect(data: bytes) -> Facts:
    """Decode a picture completely, only to know that it can be, and say what it is.

    Pillow and not OpenCV: OpenCV returns a truncated JPEG as a picture with a gray lower part.
    Raises PictureError with the reason: not a picture, broken, truncated, or more than MAX_PIXELS pixels.
    """
    if not data:
        raise PictureError("the file is empty")
    try:
        with warnings.catch_warnings():
            # The limit below is ours and comes before decoding; Pillow's own is a warning.
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise PictureError(f"{width}x{height} pixels are more than the {MAX_PIXELS} allowed")
            picture.load()
            orientation = picture.getexif().get(_ORIENTATION, 1)
    except UnidentifiedImageError:
        raise PictureError(f"not a picture in one of the formats {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise PictureError(f"more pixels than the {MAX_PIXELS} allowed") from None
    except _UNREADABLE as error:
        raise PictureError(f"broken picture: {error}") from None
    plain = (
        picture.format in ("JPEG", "PNG")
        and picture.mode in ("RGB", "L")
        and "transparency" not in picture.info
        and (picture.format == "JPEG" or orientation == 1)
    )
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    return Facts(width, height, len(picture.getbands()), plain)


def decode(data: bytes, color: Color, *, plain: bool) -> Pixels:
    """Pixels of a picture that `inspect` accepted: uint8, (H, W, 3) in RGB order or (H, W, 1) gray.

    EXIF orientation is applied; transparency is laid on white; 16 bits become the upper 8; of an animation
    the first frame is taken. Raises PictureError when the data cannot be decoded after all.
    """
    if plain:
        flag = cv2.IMREAD_COLOR_RGB if color == "rgb" else cv2.IMREAD_GRAYSCALE
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
        if pixels is None:
            raise PictureError("broken picture: OpenCV cannot decode it")
        return _with_channels(pixels)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data), formats=FORMATS))
            return _with_channels(np.asarray(_opaque(upright).convert("RGB" if color == "rgb" else "L")))
    except _UNREADABLE as error:
        raise PictureError(f"broken picture: {error}") from None


def to_size(pixels: Pixels, height: int, width: int, *, keep_aspect: bool) -> Pixels:
    """Bring (H, W, C) uint8 to (height, width, C).

    With `keep_aspect` the centre that has the target's proportions is taken, the rest cut off; otherwise the
    picture is stretched. Area interpolation when shrinking, cubic when enlarging. Practitioner Bundle ch. 2
    resizes the short side and then crops; cropping first gives the same view to within a pixel's rounding
    and spares resizing what is thrown away.
    """
    if keep_aspect:
        pixels = _centre(pixels, height, width)
    if pixels.shape[:2] == (height, width):
        return np.ascontiguousarray(pixels)
    shrinks = pixels.shape[0] * pixels.shape[1] > height * width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return _with_channels(cv2.resize(pixels, (width, height), interpolation=how))


def _centre(pixels: Pixels, height: int, width: int) -> Pixels:
    full_height, full_width = pixels.shape[:2]
    crop_height = min(full_height, max(1, round(full_width * height / width)))
    crop_width = min(full_width, max(1, round(full_height * width / height)))
    top, left = (full_height - crop_height) // 2, (full_width - crop_width) // 2
    return pixels[top : top + crop_height, left : left + crop_width]


def _opaque(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        # Pillow's own conversion to 8 bits cuts off everything above 255 instead of scaling.
        values = np.asarray(picture, dtype=np.float64)
        return Image.fromarray((values / 257).clip(0, 255).astype(np.uint8))
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, (*BACKGROUND, 255)), layer)


def _with_channels(pixels: NDArray[np.generic]) -> Pixels:
    array = pixels.astype(np.uint8, copy=False)
    return array if array.ndim == 3 else array[:, :, None]
