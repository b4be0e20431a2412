"""Drift alarms on real shifts, and on unchanged data in one of a hundred runs at most.

docs/drift.md has the table of more runs: `python -m benchmarks.drift`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from benchmarks.drift import (
    ANY,
    CLASSES,
    FALSE_ALARMS,
    SIZES,
    STOP,
    WARN,
    alarms,
    confidences,
    even,
    halved,
    halved_at_best,
)
from benchmarks.drift import images as draw_images
from stages.data import drift
from stages.data.profile import summary

LIMITS = {"warn": WARN, "stop": STOP, "false_alarms": FALSE_ALARMS}
# Where a class has 200 images or more; docs/drift.md says what happens below.
FEW = [classes for classes in CLASSES if classes <= 10]


def profile(classes: Sequence[int], brightness: float = 120.0) -> dict[str, Any]:
    count = sum(classes)
    labels = [f"class {number}" for number, images in enumerate(classes) for _ in range(images)]
    return summary(labels, {"brightness": np.full(count, brightness)})


@pytest.mark.slow
def test_unchanged_data_alarm_in_one_of_a_hundred_runs_at_most() -> None:
    """Significance alone, without the help of `warn`, over all figures, classes and sizes."""
    rates = {
        (classes, sizes): alarms(same := partial(draw_images, shares=even(classes)), same, sizes, 40, ANY)
        for classes in CLASSES
        for sizes in SIZES
    }
    assert np.mean(list(rates.values())) <= FALSE_ALARMS, rates


def test_unchanged_predictions_alarm_in_one_of_a_hundred_runs_at_most() -> None:
    rates = [
        alarms(same := partial(confidences, classes=classes), same, (1_000, 1_000), 50, ANY)
        for classes in (2, 10)
    ]
    assert np.mean(rates) <= FALSE_ALARMS, rates


@pytest.mark.parametrize("classes", CLASSES)
def test_darker_images_are_found(classes: int) -> None:
    accepted = partial(draw_images, shares=even(classes))
    darker = partial(draw_images, shares=even(classes), brightness=0.8)
    assert alarms(darker, accepted, (2_000, 3_000), 20, WARN) >= 0.95


@pytest.mark.parametrize("classes", FEW)
def test_a_halved_class_is_found(classes: int) -> None:
    accepted = partial(draw_images, shares=even(classes))
    assert alarms(partial(draw_images, shares=halved(classes)), accepted, (2_000, 3_000), 40, WARN) >= 0.95


@pytest.mark.parametrize("classes", [classes for classes in CLASSES if classes not in FEW])
def test_no_test_finds_a_halved_class_of_ten_or_twenty_images(classes: int) -> None:
    """Even where the accepted shares, and the class that may be halved, are exactly what the test assumes."""
    which_class_is_clear, any_class = halved_at_best(classes, 2_000, draws=2_000)
    assert which_class_is_clear < 0.6
    assert any_class < 0.12


@pytest.mark.parametrize("classes", FEW)
def test_a_halved_class_can_be_found_where_it_is(classes: int) -> None:
    assert min(halved_at_best(classes, 2_000, draws=2_000)) >= 0.95


def test_less_confident_predictions_are_found() -> None:
    doubtful = partial(confidences, classes=10, doubt=1.25)
    assert alarms(doubtful, partial(confidences, classes=10), (2_000, 2_000), 20, WARN) >= 0.95


def test_a_significant_difference_below_warn_passes() -> None:
    compared = drift.compare(profile([52_000, 48_000]), profile([50_000, 50_000]), **LIMITS)
    assert compared["verdict"] == "pass"
    assert compared["figures"]["class_mix"]["p_value"] < FALSE_ALARMS


def test_a_large_difference_of_few_images_passes() -> None:
    figure = drift.compare(profile([4, 6]), profile([6, 4]), **LIMITS)["figures"]["class_mix"]
    assert (figure["value"], figure["verdict"]) == (0.2, "pass")
    assert figure["p_value"] == 1.0


def test_a_class_that_is_new_or_gone_warns_and_is_named() -> None:
    gone = drift.compare(profile([0, 1_000, 1_000]), profile([60, 1_000, 1_000]), **LIMITS)
    figure = gone["figures"]["class_share"]
    assert (figure["class"], figure["value"], figure["verdict"]) == ("class 0", 1.0, "warn")
    assert figure["shares"] == [0.0291, 0.0]
    new = drift.compare(profile([1_000, 1_000, 60]), profile([1_000, 1_000]), **LIMITS)
    assert new["figures"]["class_share"]["class"] == "class 2"


def test_the_verdict_is_that_of_the_worst_figure_and_repeats() -> None:
    now, accepted = profile([920, 80], brightness=60.0), profile([800, 200])
    compared = drift.compare(now, accepted, **LIMITS)
    assert compared["verdict"] == compared["figures"]["brightness"]["verdict"] == "stop"
    assert compared["figures"]["brightness"]["medians"] == [120.0, 60.0]
    assert compared["figures"]["class_mix"]["verdict"] == "warn"
    assert drift.compare(now, accepted, **LIMITS) == compared


def test_predictions_are_compared_by_class_and_confidence() -> None:
    accepted = np.tile(np.array([[0.9, 0.1], [0.1, 0.9]]), (500, 1))
    now = np.tile(np.array([[0.6, 0.4]]), (1_000, 1))
    figures = drift.compare_predictions(now, accepted, ["cat", "dog"], **LIMITS)["figures"]
    assert list(figures) == ["class_mix", "class_share", "confidence"]
    assert figures["class_mix"]["value"] == 0.5
    assert figures["confidence"]["medians"] == [0.9, 0.6]
    assert {figures[name]["verdict"] for name in ("class_mix", "confidence")} == {"stop"}


def test_no_predictions_are_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        drift.of_predictions(np.empty((0, 2)), ["cat", "dog"])
