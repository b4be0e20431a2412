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


FOUR = {
    "underfitting (bias)": (0.30, 0.50, 0.70, 0.90),
    "high variance": (0.02, 0.20, 0.40, 0.60),
    "train and val differ": (0.02, 0.04, 0.20, 0.40),
    "overfit to train and val": (0.02, 0.04, 0.06, 0.20),
    "balanced": (0.02, 0.04, 0.06, 0.08),
}


@pytest.mark.parametrize("name", FOUR)
def test_with_train_val_the_four_checks_of_the_book_are_in_its_order(name: str) -> None:
    """Every check that comes after the one named fails, too."""
    train, train_val, val, test = (Fit(error, 0.1, 2_000) for error in FOUR[name])
    finding = diagnosis.first_failing_check(train, val, test, 40, train_val)
    assert finding.name == name
    assert finding.figure.startswith(
        f"train error {train.error:.3f}, train-val error {train_val.error:.3f}, val error {val.error:.3f}, "
    )


def test_train_val_tells_variance_from_a_val_split_of_other_images() -> None:
    train, val, test = Fit(0.02, 0.1, 2_000), Fit(0.20, 0.6, 500), Fit(0.20, 0.6, 500)
    assert diagnosis.first_failing_check(train, val, test, 40).name == "high variance"
    differ = diagnosis.first_failing_check(train, val, test, 40, Fit(0.03, 0.1, 500))
    assert differ.name == "train and val differ"
    first, *others = differ.advice.split("; ")
    assert first == "see that train has images like those of val, and collect such images if not"
    assert others == [
        "then the regularization (augment, dropout, train.l2)",
        "then another architecture",
    ]
    variance = diagnosis.first_failing_check(train, val, test, 40, Fit(0.20, 0.6, 500))
    assert variance.name == "high variance"
    # It is known that val is not to blame.
    assert "images like those of val" not in variance.advice


def test_a_gap_from_train_val_to_val_that_chance_explains_is_no_finding() -> None:
    train, val = Fit(0.02, 0.1, 2_000), Fit(0.12, 0.6, 25)
    assert diagnosis.first_failing_check(train, val, val, 40, Fit(0.04, 0.1, 25)).name == "balanced"


def test_the_diagnosis_of_a_training_goes_by_train_val() -> None:
    other_images = Fit(0.30, 1.0, 500)
    (finding,) = diagnosis.of_training(
        history(), [2_000], TRAIN, other_images, other_images, 40, train_val=Fit(0.03, 0.1, 500)
    )
    assert finding.name == "train and val differ"


def test_chance_alone_is_no_difference_of_train_and_val() -> None:
    """A network that is wrong in 4 % of all images, on held-out splits of 60 images."""
    draw = np.random.default_rng(0)

    def fit(images: int) -> Fit:
        return Fit(draw.binomial(images, 0.04) / images, 0.1, images)

    findings = [
        diagnosis.first_failing_check(Fit(0.04, 0.1, 2_000), fit(60), fit(60), 40, fit(60)).name
        for _ in range(500)
    ]
    for name in ("high variance", "train and val differ", "overfit to train and val"):
        assert findings.count(name) <= 25


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
