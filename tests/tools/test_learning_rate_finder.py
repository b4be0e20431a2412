"""learning_rate_finder: a figure, its numbers, and a rate to start with."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stages.common.errors import LearnerError
from stages.common.files import read_json
from stages.models.learners import cnn
from stages.models.training.range_test import RangeTest
from stages.tools.learning_rate_finder import draw
from tests.paths import ROOT
from tests.project import Project


def lenet(**changes: Any) -> cnn.Params:
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["models"]["lenet"]
    return cnn.Params.model_validate(values | changes)


@pytest.mark.slow
def test_the_rate_is_between_no_effect_and_divergence(packed: Project, tmp_path: Path) -> None:
    draw("lenet", lenet(), packed.packed, tmp_path / "sheets")
    result = read_json(tmp_path / "sheets" / "lenet.json")
    assert 1e-4 < result["suggested"] < 1
    assert result["suggested"] == min(result["steepest"], result["tenth_of_lowest"])
    assert result["rates"] == sorted(result["rates"])
    assert len(result["rates"]) == len(result["losses"])
    assert min(result["losses"]) < result["losses"][0]
    assert (tmp_path / "sheets" / "lenet.png").stat().st_size > 5_000


def test_the_steepest_fall_is_where_to_begin() -> None:
    rates = [10.0**power for power in range(-6, 2)]
    result = RangeTest(rates, [2.0, 2.0, 1.9, 1.0, 0.9, 0.85, 1.5, 6.0])
    assert result.suggested == result.steepest
    assert result.steepest in (1e-4, 1e-3)
    assert result.tenth_of_lowest == pytest.approx(1e-2)


def test_a_late_steepest_fall_is_not_suggested_above_a_tenth_of_the_rate_with_the_lowest_loss() -> None:
    """The rate to start with was 0.041, and "at most" 0.022."""
    rates = [0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
    result = RangeTest(rates, [2.3, 2.2, 2.1, 1.6, 1.2, 0.8, 2.2])
    assert result.steepest > result.tenth_of_lowest
    assert result.suggested == result.tenth_of_lowest == pytest.approx(0.02)


def test_a_lucky_first_batch_is_no_lowest_loss() -> None:
    """A tenth of the lowest rate, 1e-7, was suggested: the first average is that of one batch."""
    rates = np.geomspace(1e-6, 10, 40).tolist()
    losses = [0.1, 1.0, *[2.0] * 22, *np.linspace(2.0, 0.8, 10), *[5.0] * 6]
    result = RangeTest(rates, losses)
    assert result.tenth_of_lowest == pytest.approx(rates[33] / 10)
    assert result.suggested > 1e-3


def test_a_loss_that_never_falls_is_no_answer() -> None:
    with pytest.raises(LearnerError, match="falls at no learning rate"):
        _ = RangeTest([1e-3, 1e-2, 1e-1], [1.0, 1.1, 1.5]).steepest
