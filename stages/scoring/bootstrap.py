"""How far a metric would move on another test split of the same kind."""

import numpy as np
from numpy.typing import NDArray

from stages.scoring import Labels, Probabilities

_RESAMPLES = 2_000
# scikit-learn's own bound in its log loss: a probability of 0 would be an infinite loss.
_LEAST = float(np.finfo(np.float64).eps)

Interval = tuple[float, float]


def intervals(labels: Labels, probabilities: Probabilities, level: float, seed: int) -> dict[str, Interval]:
    """The percentile interval, at 1 - `level`, of accuracy, log loss and macro F1.

    2,000 resamples of the rows (N,), (N, K). Source: B. Efron, R. Tibshirani, An Introduction to the
    Bootstrap, 1993, ch. 13. By hand, as one draw serves all three metrics: scipy.stats.bootstrap draws for
    each, and takes three times as long.
    """
    count, classes = probabilities.shape
    predicted = probabilities.argmax(axis=1)
    of_label = probabilities[np.arange(count), labels].astype(np.float64)
    right, loss = predicted == labels, -np.log(np.maximum(of_label, _LEAST))
    cells = labels * classes + predicted
    draw = np.random.default_rng(seed)
    found = np.empty((_RESAMPLES, 3))
    for one in found:
        rows = draw.integers(0, count, count)
        matrix = np.bincount(cells[rows], minlength=classes**2).reshape(classes, classes)
        one[:] = right[rows].mean(), loss[rows].mean(), _macro_f1(matrix)
    low, high = np.quantile(found, [level / 2, 1 - level / 2], axis=0)
    names = ("accuracy", "log_loss", "macro_f1")
    return {name: (float(low[place]), float(high[place])) for place, name in enumerate(names)}


def _macro_f1(matrix: NDArray[np.int64]) -> float:
    """Of counts (K, K); a class that is neither there nor predicted counts as 0, as in metrics.score."""
    both = matrix.sum(axis=0) + matrix.sum(axis=1)
    return float((2 * np.diagonal(matrix) / np.maximum(both, 1)).mean())
