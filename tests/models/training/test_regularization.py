"""Class weights count images; L2 is tested with the networks that take it."""

import numpy as np
import pytest

from stages.models.training import regularization


def test_class_weights_have_the_books_ratio_and_are_1_on_average() -> None:
    """Starter Bundle ch. 22: 9,475 faces do not smile, 3,690 do; their weights are 1 and 2.57."""
    labels = np.repeat([0, 1], [9_475, 3_690])
    weights = regularization.class_weights(labels, 2)
    assert weights[1] / weights[0] == pytest.approx(2.5678, abs=5e-5)
    assert np.mean([weights[label] for label in labels]) == pytest.approx(1)
