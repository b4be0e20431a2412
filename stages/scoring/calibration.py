"""Whether a classifier that says 0.8 is right in 8 of 10 cases."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.scoring import Labels, Probabilities


@dataclass(frozen=True)
class Reliability:
    """Per bin of confidence (B,): how many rows, their mean confidence and their accuracy; 0 where none."""

    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error: the gaps between confidence and accuracy, weighted by rows."""
        return float(self.count @ np.abs(self.confidence - self.accuracy) / self.count.sum())


def reliability(labels: Labels, probabilities: Probabilities, bins: int) -> Reliability:
    """Rows (N,), (N, K) by the probability of their most probable class, in bins of equal width over [0, 1].

    Source: C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017. By hand, as scikit-learn has
    only the curve for two classes.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    # In the dtype given: the float32 nearest 0.9 belongs to the bin that starts at 0.9.
    which = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    count = np.bincount(which, minlength=bins)
    rows = np.maximum(count, 1)
    return Reliability(
        count,
        np.bincount(which, weights=confidence, minlength=bins) / rows,
        np.bincount(which, weights=right, minlength=bins) / rows,
    )
