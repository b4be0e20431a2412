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
    draw = np.random.default_rng(seed)
    resampled = np.empty((_RESAMPLES, 2))
    for resample in resampled:
        rows = draw.integers(0, count, count)
        matrix = np.bincount(cells[rows], minlength=classes**2).reshape(classes, classes)
        resample[:] = losses[rows].mean(), _macro_f1(matrix)
    low, high = np.quantile(resampled, [level / 2, 1 - level / 2], axis=0)
    names = ("log_loss", "macro_f1")
    return {name: (float(low[place]), float(high[place])) for place, name in enumerate(names)}


def _macro_f1(matrix: NDArray[np.int64]) -> float:
    """Of counts (K, K), over the classes that have images in the resample.

    Not over those of the whole split: a class that a resample leaves out by chance would count as 0. With 3
    images a class, a perfect classifier's interval would then begin at 0.85.
    """
    images = matrix.sum(axis=1)
    both = matrix.sum(axis=0) + images
    return float((2 * np.diagonal(matrix) / np.maximum(both, 1))[images > 0].mean())
