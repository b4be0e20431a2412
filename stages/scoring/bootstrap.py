"""Bootstrap intervals of log loss and macro F1: how far they would move on another test split."""

import numpy as np
from numpy.typing import NDArray

from stages.scoring.predictions import Predictions

_RESAMPLES = 2_000

Interval = tuple[float, float]


def intervals(predictions: Predictions, level: float, seed: int) -> dict[str, Interval]:
    """Compute percentile intervals of log loss and macro F1 from 2,000 resamples of the images.

    Shares, such as accuracy, have `metrics.interval` instead. Source: B. Efron, R. Tibshirani, An
    Introduction to the Bootstrap, 1993, ch. 13. scipy.stats.bootstrap would draw for each metric anew and
    take twice as long.

    Args:
        predictions: Of one split.
        level: One minus the confidence: 0.05 gives the 95 % interval.
        seed: Of the resamples.

    Returns:
        `log_loss` and `macro_f1` → lower and upper bound.
    """
    count, classes = predictions.probabilities.shape
    losses = predictions.losses
    cells = predictions.labels * classes + predictions.predicted
    present = np.bincount(predictions.labels, minlength=classes) > 0
    draw = np.random.default_rng(seed)
    resampled = np.empty((_RESAMPLES, 2))
    for resample in resampled:
        rows = draw.integers(0, count, count)
        matrix = np.bincount(cells[rows], minlength=classes**2).reshape(classes, classes)
        resample[:] = losses[rows].mean(), _macro_f1(matrix, present)
    low, high = np.quantile(resampled, [level / 2, 1 - level / 2], axis=0)
    names = ("log_loss", "macro_f1")
    return {name: (float(low[place]), float(high[place])) for place, name in enumerate(names)}


def _macro_f1(matrix: NDArray[np.int64], present: NDArray[np.bool_]) -> float:
    """Of counts (K, K), over the classes (K,) that have images in the whole split, as in metrics.score."""
    both = matrix.sum(axis=0) + matrix.sum(axis=1)
    return float((2 * np.diagonal(matrix) / np.maximum(both, 1))[present].mean())
