"""Made-up histories, and the words for them."""

from typing import Any

import numpy as np
import pytest

from stages.scoring import diagnosis

EPOCHS = np.arange(1, 41, dtype=float)
GOOD = 0.1 + 2 * np.exp(-EPOCHS / 6)


def history(**changes: Any) -> dict[str, list[float]]:
    series = {
        "epoch": EPOCHS,
        "phase": np.ones(40),
        "loss": GOOD,
        "val_loss": GOOD + 0.02,
        "accuracy": np.linspace(0.3, 0.98, 40),
        "val_accuracy": np.linspace(0.3, 0.97, 40),
    }
    return {name: list(values) for name, values in (series | changes).items()}


def names(series: dict[str, list[float]], images: list[int] | None = None) -> list[str]:
    return [one.name for one in diagnosis.of_training(series, images or [2000, 2000])]


def test_a_training_that_went_well_has_one_line() -> None:
    (found,) = diagnosis.of_training(history(), [2000, 2000])
    assert (found.name, found.figure) == ("balanced", "train error 0.020, val error 0.030")


def test_overfitting_names_the_epoch_from_which_the_val_loss_rises() -> None:
    val = np.where(EPOCHS <= 15, GOOD + 0.02, GOOD[14] + 0.02 + 0.02 * (EPOCHS - 15))
    (found, *_) = diagnosis.of_training(history(val_loss=val, val_accuracy=np.full(40, 0.8)), [2000])
    assert found.name == "overfitting from epoch 15 on"
    assert "val loss 0.284 there" in found.figure
    assert names(history(val_loss=val, val_accuracy=np.full(40, 0.8)))[1:] == ["high variance"]


def test_a_val_loss_that_rises_with_the_train_loss_is_no_overfitting() -> None:
    rising = np.where(EPOCHS <= 15, GOOD, GOOD[14] + 0.02 * (EPOCHS - 15))
    assert diagnosis.overfitting(EPOCHS, rising, rising) is None


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (np.where(EPOCHS < 10, 2 - 0.1 * EPOCHS, 1.1 + 0.3 * (EPOCHS - 9)), "learning rate too high"),
        (np.where(EPOCHS == 1, 2.0, 1.5 - 0.0001 * EPOCHS), "learning rate high"),
        (2 - 0.02 * EPOCHS, "learning rate low"),
    ],
)
def test_the_shape_of_the_train_loss_tells_a_wrong_learning_rate(loss: Any, name: str) -> None:
    found = diagnosis.learning_rate(loss)
    assert found is not None
    assert found.name == name
    assert "optimizer.learning_rate" in found.advice


def test_a_fast_fall_to_almost_nothing_is_no_high_rate() -> None:
    assert diagnosis.learning_rate(np.where(EPOCHS == 1, 2.0, 0.01)) is None


def test_a_loss_that_never_moved_and_a_short_one_have_no_shape() -> None:
    assert diagnosis.learning_rate(np.ones(40)) is None
    assert diagnosis.learning_rate([2.0, 1.0]) is None
    assert diagnosis.overfitting([1, 2], [2, 1], [1, 2]) is None


@pytest.mark.parametrize(
    ("errors", "name"),
    [
        ({"train": 0.3, "val": 0.5}, "underfitting (bias)"),
        ({"train": 0.02, "val": 0.2}, "high variance"),
        ({"train": 0.02, "val": 0.2, "train_val": 0.03}, "val differs from train"),
        ({"train": 0.02, "val": 0.2, "train_val": 0.2}, "high variance"),
        ({"train": 0.02, "val": 0.03, "test": 0.2}, "overfitted to the val split"),
        ({"train": 0.02, "val": 0.03, "test": 0.03}, "balanced"),
        ({"train": 0.3, "val": 0.31, "wanted": 0.28}, "balanced"),
    ],
)
def test_the_first_of_ngs_four_checks_that_fails_is_named(errors: dict[str, float], name: str) -> None:
    assert diagnosis.bias_or_variance(**errors).name == name


@pytest.mark.parametrize(
    ("images", "similar", "advice"),
    [
        ([60], True, "last layers"),
        ([60], False, "lower layers"),
        ([60], None, "like ImageNet's"),
        ([5000], True, "fine-tune a pretrained"),
        ([5000], False, "baseline"),
    ],
)
def test_transfer_or_scratch_follows_size_and_likeness(
    images: list[int], similar: bool | None, advice: str
) -> None:
    found = diagnosis.transfer_or_scratch(images, similar)
    assert found is not None
    assert advice in found.advice


def test_a_large_set_of_unknown_likeness_is_no_finding() -> None:
    assert diagnosis.transfer_or_scratch([5000, 900]) is None


def test_only_the_last_phase_counts_and_its_epochs_keep_their_numbers() -> None:
    val = np.where(EPOCHS <= 30, GOOD + 0.02, GOOD[29] + 0.02 + 0.02 * (EPOCHS - 30))
    # Phase 1 alone would look like a rate that is too high.
    loss = np.where(EPOCHS <= 20, EPOCHS, GOOD)
    series = history(loss=loss, val_loss=val, phase=np.where(EPOCHS <= 20, 1, 2))
    assert names(series, [60]) == ["overfitting from epoch 30 on", "balanced"]
