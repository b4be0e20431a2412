"""What a set of images looks like in figures: one value per image, and a summary that fits in a file."""

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


@dataclass(frozen=True, slots=True)
class Look:
    """One image: size in pixels; brightness and contrast, mean and deviation of gray (0-255); sharpness.

    Sharpness is the variance of the Laplacian (J. L. Pech-Pacheco et al., 2000) at `small`'s size, so that
    images of different sizes can be compared. `small` is uint8 RGB, 128 pixels at the longer side at most.
    """

    width: int
    height: int
    brightness: float
    contrast: float
    sharpness: float
    small: Pixels


FIGURES = ("width", "height", "brightness", "contrast", "sharpness")


def look(pixels: Pixels) -> Look:
    """Measure a decoded image, uint8 (H, W, 3)."""
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    sharpness = float(cv2.Laplacian(gray, cv2.CV_32F).var())
    return Look(width, height, float(gray.mean()), float(gray.std()), sharpness, small)


def summary(labels: list[str], figures: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Class counts, and 1,001 quantiles of each figure: a distribution to 0.001, whatever the number."""
    return {
        "pictures": len(labels),
        "classes": dict(sorted(Counter(labels).items())),
        "quantiles": {
            # Measured values and none between them: sizes are often all the same.
            name: np.quantile(values, _QUANTILES, method="inverted_cdf").round(3).tolist()
            for name, values in figures.items()
        },
    }
