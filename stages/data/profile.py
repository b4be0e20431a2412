"""Profiles: the figures of each image, and a summary of a data set that fits in a file."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.data.decoding import Pixels

# Pixels of the longer side of `Look.small`.
SIDE = 128
_QUANTILES = np.linspace(0, 1, 1001)
# The profile of no images: conf/no_reference.json, which stands for no reference profile.
NONE: dict[str, Any] = {"pictures": 0, "classes": {}, "quantiles": {}}


@dataclass(frozen=True, slots=True)
class Look:
    """The figures of one image.

    Attributes:
        width: pixels.
        height: pixels.
        brightness: mean of gray, 0 to 255.
        contrast: standard deviation of gray.
        sharpness: variance of the Laplacian (J. L. Pech-Pacheco et al., 2000), at the size of `small`, so
            that images of different sizes can be compared.
        small: uint8 RGB, the longer side 128 pixels at most.
    """

    width: int
    height: int
    brightness: float
    contrast: float
    sharpness: float
    small: Pixels


FIGURES = ("width", "height", "brightness", "contrast", "sharpness")


def look(pixels: Pixels) -> Look:
    """Measure a decoded image, uint8 RGB (H, W, 3)."""
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    sharpness = float(cv2.Laplacian(gray, cv2.CV_32F).var())
    # Sums of integers are exact; NumPy's mean and standard deviation take 48 microseconds instead of 2.
    count, total, squares = gray.size, int(cv2.sumElems(gray)[0]), round(cv2.norm(gray, cv2.NORM_L2SQR))
    contrast = math.sqrt(count * squares - total * total) / count
    return Look(width, height, total / count, contrast, sharpness, small)


def summary(labels: list[str], figures: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Summarize a data set.

    Args:
        labels: the label of each image.
        figures: name → one value per image.

    Returns:
        The profile: `pictures`, the number of images; `classes`, label → count; `quantiles`, name → 1,001
        quantiles, which give a distribution to 0.001 for any number of images.
    """
    return {
        "pictures": len(labels),
        "classes": dict(sorted(Counter(labels).items())),
        "quantiles": {
            # Measured values, no interpolation: sizes are often all the same.
            name: np.quantile(values, _QUANTILES, method="inverted_cdf").round(3).tolist()
            for name, values in figures.items()
        },
    }
