"""Intervals of metrics: their coverage, and those of known predictions."""

import numpy as np
import pytest

from stages.scoring import intervals, metrics
from stages.scoring.predictions import Predictions


def predictions_of(labels: np.ndarray, predicted: np.ndarray, classes: int) -> Predictions:
    """With the predicted class at 0.8."""
    probabilities = np.full((len(labels), classes), 0.2 / (classes - 1), np.float32)
    probabilities[np.arange(len(labels)), predicted] = 0.8
    return Predictions(np.arange(len(labels)).astype(np.str_), labels, probabilities)


def of_three_classes(count: int, share: float) -> Predictions:
    """`count` rows of three classes, the given share of them correct."""
    labels = np.arange(count) % 3
    wrong = np.arange(count) >= share * count
    return predictions_of(labels, (labels + wrong) % 3, 3)


def test_intervals_are_around_the_metrics_and_as_wide_as_the_binomial_says() -> None:
    predictions = of_three_classes(600, 0.9)
    scores = metrics.score(predictions, 10)
    for interval, name in ((intervals.log_loss, "log_loss"), (intervals.macro_f1, "macro_f1")):
        low, high = interval(predictions, 0.05)
        assert low < scores[name] < high, name
    # A correct image costs -log 0.8, a wrong one -log 0.1.
    low, high = intervals.log_loss(predictions, 0.05)
    assert high - low == pytest.approx(2 * 1.96 * np.log(8) * (0.9 * 0.1 / 600) ** 0.5, rel=0.1)


@pytest.mark.parametrize("count", [9, 60])
def test_without_an_error_macro_f1_is_as_uncertain_as_accuracy(count: int) -> None:
    """Its interval was 1 to 1, beside an accuracy of 1 with an interval down to 0.7."""
    predictions = of_three_classes(count, 1.0)
    assert intervals.macro_f1(predictions, 0.05) == pytest.approx(metrics.interval(1.0, count, 0.05))
    assert intervals.log_loss(predictions, 0.05) == pytest.approx((-np.log(0.8),) * 2, abs=1e-6)


@pytest.mark.parametrize(
    ("classes", "images", "right"),
    [
        (3, 7, 0.95),
        (3, 20, 0.95),
        (3, 67, 0.985),
        (10, 30, 0.8),
        (17, 18, 0.8),
        (200, 5, 0.8),
        (1000, 5, 0.75),
    ],
)
def test_the_interval_of_macro_f1_covers_it(classes: int, images: int, right: float) -> None:
    """Of 200 test splits of a model with this accuracy; at the nominal 0.95, two standard errors are 0.03."""
    draw = np.random.default_rng(3)
    labels = np.arange(classes * images) % classes
    bounds, values = [], []
    certain = np.eye(classes, dtype=np.float32)
    for _ in range(200):
        guessed = draw.integers(0, classes, len(labels))
        predicted = np.where(draw.random(len(labels)) < right, labels, guessed)
        predictions = Predictions(labels, labels, certain[predicted])
        low, high = intervals.macro_f1(predictions, 0.05)
        values.append(metrics.per_class(predictions).f1.mean())
        assert low < values[-1] <= high
        bounds.append((low, high))
    expected = np.mean(values)
    assert np.mean([low <= expected <= high for low, high in bounds]) > 0.88


def test_a_class_without_images_does_not_count() -> None:
    labels = np.array([0, 0, 1, 1])
    for predicted in ([0, 0, 1, 1], [0, 0, 1, 2]):
        predictions = predictions_of(labels, np.array(predicted), 3)
        low, high = intervals.macro_f1(predictions, 0.05)
        assert low <= metrics.score(predictions, 10)["macro_f1"] <= high
