"""Intervals of differences hold the truth as often as they say."""

import numpy as np
import pytest

from stages.scoring import differences, significance

LEVEL = 0.025


def test_of_two_classifiers_it_is_the_interval_of_the_paired_test() -> None:
    draw = np.random.default_rng(0)
    first, second = draw.random(300) < 0.9, draw.random(300) < 0.85
    expected = significance.accuracy(first, second, LEVEL)
    actual = differences.paired(first.astype(float) - second, LEVEL)
    assert actual == pytest.approx((expected.gain, expected.low, expected.high))


def test_the_interval_of_an_ensemble_and_its_members_holds_the_truth() -> None:
    """Fractions: five members that are right on 70 % of images, an ensemble that is right on 75 %."""
    draw = np.random.default_rng(1)
    held = 0
    for _ in range(500):
        members = (draw.random((5, 400)) < 0.70).mean(axis=0)
        _, low, high = differences.paired((draw.random(400) < 0.75) - members, LEVEL)
        held += low <= 0.05 <= high
    assert held / 500 == pytest.approx(0.95, abs=0.02)


def test_the_interval_of_two_accuracies_holds_the_truth() -> None:
    draw = np.random.default_rng(2)
    held = 0
    for _ in range(1_000):
        first, second = draw.binomial(500, 0.9) / 500, draw.binomial(200, 0.8) / 200
        gain, low, high = differences.independent(first, 500, second, 200, LEVEL)
        assert low < gain < high
        held += low <= 0.1 <= high
    assert held / 1_000 == pytest.approx(0.95, abs=0.02)


def test_the_same_images_tell_smaller_differences() -> None:
    right = np.arange(1_000) < 900
    better = np.arange(1_000) < 915
    paired = differences.paired(better.astype(float) - right, LEVEL)
    independent = differences.independent(0.915, 1_000, 0.9, 1_000, LEVEL)
    assert paired[0] == pytest.approx(independent[0])
    assert paired[1] > 0 > independent[1]
