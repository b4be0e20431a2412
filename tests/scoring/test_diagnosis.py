"""Simulated trainings: every rule has one on which it fires and one on which it must not."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.scoring import diagnosis
from stages.scoring.diagnosis import Fit

EPOCHS = np.arange(1, 41, dtype=float)
GOOD = 0.1 + 2 * np.exp(-EPOCHS / 6)
RISING_AFTER_15 = np.where(EPOCHS <= 15, GOOD + 0.02, GOOD[14] + 0.02 + 0.02 * (EPOCHS - 15))
TRAIN, VAL, TEST = Fit(0.020, 0.08, 2_000), Fit(0.030, 0.10, 500), Fit(0.035, 0.11, 500)


def history(**changes: Any) -> dict[str, list[float]]:
    # As a regularized network has them: worse with dropout and augmentation than its delivered weights.
    series = {
        "epoch": EPOCHS,
        "phase": np.ones(40),
        "loss": GOOD,
        "val_loss": GOOD + 0.02,
        "accuracy": np.linspace(0.2, 0.80, 40),
        "val_accuracy": np.linspace(0.3, 0.97, 40),
    }
    return {name: list(values) for name, values in (series | changes).items()}


def names(
    series: dict[str, list[float]], images: int = 2_000, train: Fit = TRAIN, val: Fit = VAL, epoch: float = 40
) -> list[str]:
    findings = diagnosis.of_training(series, [images] * 2, train, val, TEST, epoch)
    return [finding.name for finding in findings]


def test_a_regularized_training_that_went_well_is_not_called_too_small() -> None:
    """Its training accuracy, 0.80, has dropout and augmentation in it; the weights are right in 98 %."""
    (finding,) = diagnosis.of_training(history(), [2_000, 2_000], TRAIN, VAL, TEST, 40)
    assert finding.name == "balanced"
    assert finding.figure == (
        "train error 0.020, val error 0.030, test error 0.035, in inference mode with the weights of epoch 40"
    )


def test_overfitting_names_the_epoch_from_which_the_val_loss_rises() -> None:
    series = history(val_loss=RISING_AFTER_15)
    (finding, *_) = diagnosis.of_training(series, [2_000], TRAIN, VAL, TEST, 40)
    assert finding.name == "overfitting from epoch 15 on"
    assert "val loss 0.284 there" in finding.figure
    assert "train.keep: best" in finding.advice
    (with_best, *_) = diagnosis.of_training(series, [2_000], TRAIN, VAL, TEST, 15)
    assert "the weights of epoch 15 were kept" in with_best.advice


def test_a_val_loss_that_rises_with_the_train_loss_is_no_overfitting() -> None:
    rising = np.where(EPOCHS <= 15, GOOD, GOOD[14] + 0.02 * (EPOCHS - 15)).tolist()
    assert diagnosis.overfitting(EPOCHS.tolist(), rising, rising, 40) is None


def test_a_val_loss_that_only_wobbles_is_no_overfitting() -> None:
    wobbling = GOOD + 0.02 + 0.002 * np.random.default_rng(0).standard_normal(40)
    assert diagnosis.overfitting(EPOCHS.tolist(), GOOD.tolist(), wobbling.tolist(), 40) is None


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (np.where(EPOCHS < 10, 2 - 0.1 * EPOCHS, 1.1 + 0.3 * (EPOCHS - 9)), "learning rate too high"),
        (np.where(EPOCHS == 1, 2.0, 1.5 - 0.0001 * EPOCHS), "learning rate high"),
        (2 - 0.02 * EPOCHS, "learning rate low"),
    ],
)
def test_the_shape_of_the_train_loss_shows_a_wrong_learning_rate(
    loss: NDArray[np.float64], name: str
) -> None:
    finding = diagnosis.learning_rate(loss.tolist())
    assert finding is not None
    assert finding.name == name
    assert "optimizer.learning_rate" in finding.advice


@pytest.mark.parametrize(
    "loss",
    [
        GOOD,
        GOOD + 0.02 * np.random.default_rng(0).standard_normal(40),
        np.where(EPOCHS == 1, 2.0, 0.01),
        np.where(EPOCHS == 40, 0.0032, np.maximum(0.0015, 0.5 * 0.7**EPOCHS)),
        np.ones(40),
        np.array([2.0, 1.0]),
    ],
    ids=[
        "good",
        "noisy",
        "a fast fall to almost nothing",
        "twice almost nothing at the end",
        "never moved",
        "too short for a shape",
    ],
)
def test_other_shapes_are_no_wrong_learning_rate(loss: NDArray[np.float64]) -> None:
    assert diagnosis.learning_rate(loss.tolist()) is None


@pytest.mark.parametrize(
    ("train", "val", "test", "name"),
    [
        (Fit(0.30, 1.0, 2_000), Fit(0.50, 2.0, 500), Fit(0.70, 3.0, 500), "underfitting (bias)"),
        (Fit(0.04, 0.1, 2_000), Fit(0.05, 0.1, 500), Fit(0.06, 0.1, 500), "balanced"),
        (Fit(0.02, 0.1, 2_000), Fit(0.20, 0.6, 500), Fit(0.40, 0.9, 500), "high variance"),
        (Fit(0.02, 0.1, 2_000), Fit(0.12, 0.6, 25), Fit(0.12, 0.6, 25), "balanced"),
        (Fit(0.02, 0.1, 2_000), Fit(0.06, 0.2, 50_000), Fit(0.06, 0.2, 50_000), "balanced"),
        (Fit(0.02, 0.1, 2_000), Fit(0.04, 0.1, 500), Fit(0.15, 0.5, 500), "overfit to train and val"),
        (Fit(0.02, 0.1, 2_000), Fit(0.04, 0.1, 500), Fit(0.12, 0.5, 25), "balanced"),
    ],
    ids=[
        "bias",
        "no bias",
        "variance",
        "a gap that chance explains",
        "a certain and small gap",
        "test",
        "a gap to test that chance explains",
    ],
)
def test_the_first_of_ngs_checks_that_fails_is_named(train: Fit, val: Fit, test: Fit, name: str) -> None:
    assert diagnosis.first_failing_check(train, val, test, 40).name == name


def test_chance_alone_is_no_variance() -> None:
    """A network that is wrong in 4 % of all images, on val splits of 60 images."""
    draw = np.random.default_rng(0)
    findings = [
        diagnosis.first_failing_check(
            Fit(min(0.05, draw.binomial(2_000, 0.04) / 2_000), 0.1, 2_000),
            Fit(draw.binomial(60, 0.04) / 60, 0.1, 60),
            Fit(draw.binomial(60, 0.04) / 60, 0.1, 60),
            40,
        ).name
        for _ in range(500)
    ]
    assert findings.count("high variance") <= 25
    assert findings.count("overfit to train and val") <= 25


def test_a_val_split_is_easier_only_for_the_same_weights_in_the_same_mode() -> None:
    # The history's train loss is above the val loss, as dropout and augmentation make it.
    assert names(history(loss=GOOD + 1)) == ["balanced"]
    easier = names(history(), train=Fit(0.04, 0.20, 2_000), val=Fit(0.005, 0.02, 2_000))
    assert easier == ["val split easier than train split", "balanced"]
    assert names(history(), train=Fit(0.04, 0.20, 2_000), val=Fit(0.02, 0.10, 100)) == ["balanced"]


def test_small_data_get_advice_and_large_data_do_not() -> None:
    assert names(history(), images=60) == ["balanced", "small data set"]
    assert names(history(), images=1_000) == ["balanced"]


def test_only_the_last_phase_counts_and_its_epochs_keep_their_numbers() -> None:
    val = np.where(EPOCHS <= 30, GOOD + 0.02, GOOD[29] + 0.02 + 0.02 * (EPOCHS - 30))
    # Phase 1 alone would look like a rate that is too high.
    loss = np.where(EPOCHS <= 20, EPOCHS, GOOD)
    series = history(loss=loss, val_loss=val, phase=np.where(EPOCHS <= 20, 1, 2))
    assert names(series, images=60) == ["overfitting from epoch 30 on", "balanced"]
