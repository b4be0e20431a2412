"""Calibration against values worked out by hand."""

import numpy as np
import pytest

from stages.scoring.calibration import Reliability
from stages.scoring.calibration import reliability as of_predictions
from stages.scoring.predictions import Predictions


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int) -> Reliability:
    return of_predictions(Predictions(np.arange(len(labels)).astype(np.str_), labels, probabilities), bins)


def test_bins_hold_count_confidence_and_accuracy() -> None:
    probabilities = np.array([[0.75, 0.25], [0.85, 0.15], [0.4, 0.6]], np.float32)
    result = reliability(np.array([0, 1, 1]), probabilities, 4)
    assert result.count.tolist() == [0, 0, 1, 2]
    assert result.confidence == pytest.approx([0, 0, 0.6, 0.8])
    assert result.accuracy.tolist() == [0, 0, 1, 0.5]


def test_the_error_weighs_bins_by_their_rows() -> None:
    # Bin (0.5, 1]: three rows of confidence 0.75, two right; gap |2/3 - 0.75| over all rows.
    probabilities = np.array([[0.75, 0.25]] * 3)
    assert reliability(np.array([0, 0, 1]), probabilities, 2).error == pytest.approx(0.75 - 2 / 3)


def test_a_sure_and_right_row_adds_nothing_and_belongs_to_the_last_bin() -> None:
    result = reliability(np.array([0]), np.array([[1.0, 0.0]]), 15)
    assert result.error == 0.0
    assert result.count[-1] == 1
