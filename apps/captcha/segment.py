"""A captcha → its digits, from left to right (Starter Bundle ch. 21).

The book pads by repeating the border, which lengthens a stroke that touches it, and accepts boxes that reach
over the edge, which become empty images. Here the padding is background, and boxes end at the edge.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from apps.captcha import LENGTH
from apps.model import AppError, Pixels

_BORDER, _MARGIN = 8, 3
# As a share of the largest digit's area: a smaller outline is a speck, not a digit.
_SPECK = 0.05


@dataclass(frozen=True)
class Digit:
    """One digit: its box in the captcha, in pixels, and its pixels as a square gray image."""

    left: int
    top: int
    width: int
    height: int
    pixels: Pixels


def segment(captcha: Pixels) -> list[Digit]:
    """Cut a captcha into its digits.

    Args:
        captcha: Gray (H, W) or RGB (H, W, 3) pixels, uint8, dark on light.

    Returns:
        The four digits, from left to right.

    Raises:
        AppError: When there are not four, for example because two touch.
    """
    gray = cv2.cvtColor(captcha, cv2.COLOR_RGB2GRAY) if captcha.ndim == 3 else captcha
    paper = int(np.median(gray))
    padded = np.asarray(
        cv2.copyMakeBorder(gray, _BORDER, _BORDER, _BORDER, _BORDER, cv2.BORDER_CONSTANT, value=paper),
        np.uint8,
    )
    smooth = cv2.GaussianBlur(padded, (3, 3), 0)
    ink = cv2.threshold(smooth, 0, 255, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)[1]
    outlines = cv2.findContours(ink, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    rectangles = [cv2.boundingRect(outline) for outline in outlines]
    boxes = sorted((left, top, width, height) for left, top, width, height in rectangles)
    largest = max((width * height for _, _, width, height in boxes), default=0)
    boxes = [box for box in boxes if box[2] * box[3] > _SPECK * largest]
    if len(boxes) != LENGTH:
        raise AppError(f"the captcha has {len(boxes)} separate shapes; must have {LENGTH} digits")
    return [
        Digit(left - _BORDER, top - _BORDER, width, height, _cut(padded, left, top, width, height, paper))
        for left, top, width, height in boxes
    ]


def _cut(gray: Pixels, left: int, top: int, width: int, height: int, paper: int) -> Pixels:
    """The box and a margin, made square with background, so that resizing keeps all of it."""
    rows = slice(max(0, top - _MARGIN), top + height + _MARGIN)
    columns = slice(max(0, left - _MARGIN), left + width + _MARGIN)
    cut = gray[rows, columns]
    side = max(cut.shape)
    down, across = side - cut.shape[0], side - cut.shape[1]
    square = cv2.copyMakeBorder(
        cut, down // 2, down - down // 2, across // 2, across - across // 2, cv2.BORDER_CONSTANT, value=paper
    )
    return np.asarray(square, np.uint8)
