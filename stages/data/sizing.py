"""Images of any size → images of one size."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from stages.data import decoding
from stages.data.decoding import Color, Pixels

Quality = Literal["exact", "fast"]


@dataclass(frozen=True, slots=True)
class View:
    """What every image becomes.

    Attributes:
        height: Pixels.
        width: Pixels.
        color: `rgb` or `gray`.
        keep_aspect: Cut the centre out in the target's proportions; false stretches.
        quality: `exact` or `fast`.

    `fast` decodes a JPEG of twice the size or more at a half, a quarter or an eighth of it, and shrinks what
    is then less than twice as large bilinearly instead of by area. `python -m benchmarks.bench_quality` shows
    what that does to speed and to pixels.
    """

    height: int
    width: int
    color: Color
    keep_aspect: bool
    quality: Quality

    def apply(self, data: bytes, height: int, width: int, *, plain: bool) -> Pixels:
        """Decode an image that `decoding.inspect` accepted, and bring it to size.

        Args:
            data: The file.
            height: Upright, in pixels, as `inspect` said.
            width: Likewise.
            plain: Likewise.

        Returns:
            uint8, (H, W, 3) in RGB order or (H, W, 1) gray.

        Raises:
            ImageError: The image cannot be decoded.
        """
        pixels = decoding.decode(data, self.color, plain=plain, reduction=self._reduction(height, width))
        return to_size(pixels, self.height, self.width, keep_aspect=self.keep_aspect, quality=self.quality)

    def _reduction(self, height: int, width: int) -> int:
        """The most by which both sides can be divided without having to enlarge afterwards."""
        if self.quality == "exact":
            return 1
        room = min(height / self.height, width / self.width)
        return max((step for step in decoding.REDUCTIONS if step <= room), default=1)


def to_size(pixels: Pixels, height: int, width: int, *, keep_aspect: bool, quality: Quality) -> Pixels:
    """Bring pixels to a size.

    With `keep_aspect` the centre that has the target's proportions is taken, the rest cut off; otherwise the
    image is stretched. Area interpolation for a side that shrinks, cubic for one that grows. Practitioner
    Bundle ch. 2 resizes the short side and then crops; cropping first gives the same view to within a pixel's
    rounding and spares resizing what is thrown away.

    Args:
        pixels: uint8 (H, W, C).
        height: Of the result, in pixels.
        width: Likewise.
        keep_aspect: See above.
        quality: `fast` shrinks by up to a factor of two bilinearly.

    Returns:
        uint8 (height, width, C).
    """
    if keep_aspect:
        pixels = _centre(pixels, height, width)
    # First the sides that shrink, then those that grow. In one call that does both, OpenCV does not average
    # but samples: of eight columns it takes two, and makes patterns that the image does not have.
    resized = pixels
    for shape in (min(pixels.shape[0], height), min(pixels.shape[1], width)), (height, width):
        if resized.shape[:2] != shape:
            how = _interpolation(resized.shape[0] / shape[0], resized.shape[1] / shape[1], quality)
            resized = np.asarray(cv2.resize(resized, shape[::-1], interpolation=how), np.uint8)
    return np.ascontiguousarray(resized if resized.ndim == 3 else resized[:, :, None])


def _interpolation(down: float, across: float, quality: Quality) -> int:
    """OpenCV's flag for dividing the sides by these factors, both at least 1 or both at most 1."""
    if max(down, across) <= 1:
        return cv2.INTER_CUBIC
    # Up to a factor of two, bilinear interpolation still looks at every pixel, in a quarter of the time.
    if quality == "fast" and max(down, across) <= 2:
        return cv2.INTER_LINEAR
    return cv2.INTER_AREA


def _centre(pixels: Pixels, height: int, width: int) -> Pixels:
    full_height, full_width = pixels.shape[:2]
    crop_height = min(full_height, max(1, round(full_width * height / width)))
    crop_width = min(full_width, max(1, round(full_height * width / height)))
    top, left = (full_height - crop_height) // 2, (full_width - crop_width) // 2
    return pixels[top : top + crop_height, left : left + crop_width]
