"""Bootstrap intervals of metrics of known predictions."""

import numpy as np
import pytest

from stages.scoring import bootstrap, metrics
from stages.scoring.predictions import Predictions


def drawn(count: int, share: float) -> Predictions:
    """`count` rows of three classes, the given share of them correct, all at 0.8."""
    labels = np.arange(count) % 3
    predicted = np.where(np.arange(count) < share * count, labels, (labels + 1) % 3)
    probabilities = np.full((count, 3), 0.1, np.float32)
    probabilities[np.arange(count), predicted] = 0.8
    return Predictions(np.arange(count).astype(np.str_), labels, probabilities)


def test_intervals_are_around_the_metrics_and_as_wide_as_the_binomial_says() -> None:
    predictions = drawn(600, 0.9)
    intervals = bootstrap.intervals(predictions, 0.05, seed=1)
    scores = metrics.score(predictions, 10)
    for name, (low, high) in intervals.items():
        assert low < scores[name] < high, name
    # A correct image costs -log 0.8, a wrong one -log 0.1.
    low, high = intervals["log_loss"]
    assert high - low == pytest.approx(2 * 1.96 * np.log(8) * (0.9 * 0.1 / 600) ** 0.5, rel=0.1)
    assert intervals == bootstrap.intervals(predictions, 0.05, seed=1)


@pytest.mark.parametrize("count", [9, 60])
def test_what_cannot_vary_does_not(count: int) -> None:
    """Of 3 images a class, a resample often has none: the class says nothing there."""
    predictions = drawn(count, 1.0)
    intervals = bootstrap.intervals(predictions, 0.05, seed=1)
    assert intervals["macro_f1"] == (1.0, 1.0)
    assert intervals["log_loss"] == pytest.approx((-np.log(0.8),) * 2, abs=1e-6)
