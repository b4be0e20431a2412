"""Schedules that do not fit into the training are refused before any stage runs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import params
from stages.common.errors import ParamsError
from tests.committed import COMMITTED, edited
from tests.networks import defaults, optimizer

LENET = yaml.safe_load(COMMITTED.read_text(encoding="utf-8"))["models"]["lenet"]


def trained_for(length: dict[str, int], **schedule: Any) -> dict[str, Any]:
    """LeNet of the committed params with another schedule, trained for so many epochs or steps."""
    chosen = optimizer("sgd", schedule=schedule, learning_rate=0.1)
    return {**LENET, "train": LENET["train"] | {"epochs": None} | length, "optimizer": chosen}


def segments(*ends: dict[str, int]) -> dict[str, Any]:
    """A schedule of segments with one rate."""
    return {"kind": "segments", "segments": [{"learning_rate": 0.1} | end for end in ends]}


def fine_tuned(phase: str, **schedule: Any) -> dict[str, Any]:
    """A fine-tuning of 3 epochs in each phase, one of which has another schedule."""
    values = defaults("fine_tuning")
    values["warm_up"]["epochs"] = values["fine_tune"]["epochs"] = 3
    values[phase]["optimizer"]["schedule"] = schedule
    return values


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "models.lenet",
            trained_for({"epochs": 3}, kind="cosine", warmup={"epochs": 3}),
            "models.lenet: optimizer.schedule.warmup.epochs is 3; must be less than train.epochs, 3",
        ),
        (
            "models.lenet",
            trained_for({"steps": 50}, kind="cosine", warmup={"steps": 100}),
            "models.lenet: optimizer.schedule.warmup.steps is 100; must be less than train.steps, 50",
        ),
        (
            "models.lenet",
            trained_for({"epochs": 9}, **segments({"until_step": 50}, {"until_epoch": 8})),
            "models.lenet: optimizer.schedule.segments.1.until_epoch is 8; must be at least train.epochs, 9",
        ),
        (
            "models.lenet",
            trained_for({"steps": 90}, **segments({"until_step": 80})),
            "models.lenet: optimizer.schedule.segments.0.until_step is 80; must be at least train.steps, 90",
        ),
        (
            "models.lenet.optimizer.schedule",
            segments({"until_epoch": 5}, {"until_step": 9}, {"until_epoch": 4}),
            "models.lenet.optimizer.schedule.segments: segments must end one after the other",
        ),
        (
            "models.lenet",
            fine_tuned("warm_up", kind="cosine", warmup={"epochs": 5}),
            "lenet: warm_up.optimizer.schedule.warmup.epochs is 5; must be less than warm_up.epochs, 3",
        ),
        (
            "models.lenet",
            fine_tuned("fine_tune", kind="cosine", warmup={"epochs": 5}),
            "lenet: fine_tune.optimizer.schedule.warmup.epochs is 5; must be less than fine_tune.epochs, 3",
        ),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, key: str, value: Any, message: str
) -> None:
    with pytest.raises(ParamsError) as caught:
        params.load(edited(tmp_path, key, value))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "model",
    [
        trained_for({"epochs": 3}, kind="cosine", warmup={"epochs": 2}),
        trained_for({"epochs": 3}, kind="cosine", warmup={"steps": 900}),
        trained_for({"epochs": 9}, **segments({"until_epoch": 9})),
        trained_for({"steps": 9}, **segments({"until_epoch": 1})),
        fine_tuned("fine_tune", kind="cosine", warmup={"epochs": 2}),
        fine_tuned("warm_up", kind="cosine") | {"fine_tune": None},
    ],
)
def test_a_schedule_that_fits_or_may_fit_is_allowed(tmp_path: Path, model: dict[str, Any]) -> None:
    """Epochs and steps cannot be compared before the images are counted."""
    params.load(edited(tmp_path, "models.lenet", model))
