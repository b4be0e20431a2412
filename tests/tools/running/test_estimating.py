"""Minutes before a run: an estimate at first, then what the last run took."""

from pathlib import Path

import pytest

from pipelines.worker import timings
from stages.tools.running import estimating


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_first_estimate_says_that_it_is_one_and_grows_with_the_images() -> None:
    small, large = estimating.estimate("images", 100), estimating.estimate("images", 100_000)
    assert not small.measured
    assert "an estimate" in str(small)
    assert large.seconds > 5 * small.seconds


def test_a_plan_knows_how_long_each_stage_of_a_run_took() -> None:
    """`make plan` knew only the times of Airflow's tasks."""
    estimating.remember_stages({"train@lenet": 12.34, "pack": 2.0})
    assert timings.last(Path(".convoy"), "train@lenet") == 12.3
    assert timings.last(Path(".convoy"), "resize") is None


def test_a_run_measures_the_next_one() -> None:
    estimating.remember("images", 1_000, 600)
    again = estimating.estimate("images", 1_000)
    assert again.measured
    assert str(again).startswith("up to 10 min, as measured in the last run")
    assert not estimating.estimate("images_from_scratch", 1_000).measured
