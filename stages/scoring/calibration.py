"""Calibration: whether a classifier that says 0.8 is correct in 8 of 10 cases."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.scoring.predictions import Predictions


@dataclass(frozen=True)
class Reliability:
    """Per confidence bin (B,): number of images, mean confidence, and accuracy; 0 in an empty bin."""

    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error (ECE): gaps of confidence and accuracy, weighted by images."""
        return float(self.count @ np.abs(self.confidence - self.accuracy) / self.count.sum())


def reliability(predictions: Predictions, bins: int) -> Reliability:
    """Group images by confidence, in bins of equal width over [0, 1].

    Source: C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017. scikit-learn has the curve for
        two
    classes only.

    Args:
        predictions: Of one split.
        bins: Number of bins, above 0.

    Returns:
        The figures of each bin.
    """
    confidence = predictions.confidence
    # In the predictions' own dtype: the float32 nearest 0.9 belongs to the bin that starts at 0.9.
    bin_of = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    images = np.maximum(count, 1)
    return Reliability(
        count,
        np.bincount(bin_of, weights=confidence, minlength=bins) / images,
        np.bincount(bin_of, weights=predictions.correct, minlength=bins) / images,
    )
