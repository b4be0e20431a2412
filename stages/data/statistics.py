"""Exact channel statistics of images, from sums that can be added in any order."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray


def sums(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Per channel of (H, W, C) uint8: the sum of the values and the sum of their squares, exact.

    OpenCV adds uint8 in integers; NumPy would convert a 256x256 image to 8 bytes a value first.
    """
    planes = cv2.split(pixels)
    totals = [cv2.sumElems(plane)[0] for plane in planes]
    # The norm is a root that was squared again: a rounding error below or above the integer.
    squares = [round(cv2.norm(plane, cv2.NORM_L2SQR)) for plane in planes]
    return np.asarray(totals, np.int64), np.asarray(squares, np.int64)


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Pixel count, mean and standard deviation (population) per channel, in 0-255 and RGB order.

    `m2` is the sum of squared differences from the mean: with it, statistics of two sets can be merged.
    """

    count: int
    mean: list[float]
    m2: list[float]
    std: list[float]

    @classmethod
    def from_sums(cls, totals: NDArray[np.int64], squares: NDArray[np.int64], pixels_each: int) -> Self:
        """From the sums of images.

        Args:
            totals: Sums of the values of each image, int64 (N, C).
            squares: Sums of their squares, int64 (N, C).
            pixels_each: Pixels of each image.
        """
        count = len(totals) * pixels_each
        # Python's integers: N * Σx² of a million images no longer fits 64 bits.
        pairs = [
            (int(total), int(square))
            for total, square in zip(totals.sum(axis=0), squares.sum(axis=0), strict=True)
        ]
        m2 = [(count * square - total * total) / count for total, square in pairs]
        return cls(
            count=count,
            mean=[total / count for total, _ in pairs],
            m2=m2,
            std=[(value / count) ** 0.5 for value in m2],
        )

    def as_json(self) -> dict[str, Any]:
        """A plain mapping for a JSON file."""
        return asdict(self)
