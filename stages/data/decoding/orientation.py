"""The one reader of an image's orientation: how the stored rows and columns become an upright image.

Pillow, OpenCV and viewers disagree on odd EXIF data (an orientation of type LONG in a big-endian header, of
type BYTE, two EXIF segments), so size, pixels, hashes and serving all take the orientation from here. The
first EXIF segment counts, as in Pillow and ImageMagick; XMP counts where EXIF says nothing.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

UPRIGHT = 1


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an opened image, 1 to 8; 1 where there is no valid value."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except (OSError, SyntaxError, ValueError, struct.error):
        # What Pillow raises for broken metadata, which must not cost the image.
        return UPRIGHT
    return valid(value)


def valid(value: Any) -> int:
    """The orientation that a tag's value means, whatever the tag's type and count; else 1."""
    if isinstance(value, bytes | tuple) and value:
        value = value[0]
    try:
        number = int(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return UPRIGHT
    return number if 1 <= number <= 8 else UPRIGHT


def upright(pixels: NDArray[Any], value: int) -> NDArray[Any]:
    """Turn and mirror stored pixels (H, W, …) so that they are upright; a view where nothing changes."""
    if value in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if value in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if value in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
