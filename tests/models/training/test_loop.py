"""Phases of one training, interrupted anywhere and resumed."""

import logging
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from stages.common.errors import TrainingInterruptedError
from stages.common.history import History
from stages.data.loader import Loader
from stages.data.store import Reader
from stages.models.learners import cnn
from stages.models.training import callbacks
from stages.models.training.durations import Duration
from stages.models.training.loop import Trainer
from stages.models.training.monitor import Monitor
from tests.networks import optimizer, params

pytestmark = pytest.mark.slow

LAST = 4


class StoppedError(Exception):
    """Takes the place of a kill; tests/models/training/test_checkpoints.py has a real one."""


def small_network(shape: tuple[int, ...], filters: int = 4) -> keras.Model:
    """With everything that has a state: weights, moving statistics, random generators."""
    kl = keras.layers
    layers = [
        keras.Input(shape, dtype="uint8"),
        kl.Rescaling(1 / 255),
        kl.Conv2D(filters, 3, strides=2, activation="relu"),
        kl.BatchNormalization(),
        kl.Flatten(),
        kl.Dropout(0.5),
        kl.Dense(3, activation="softmax"),
    ]
    return keras.Sequential(layers)


def draw(history: History, path: Path) -> None:
    # The figure itself is tested with the others: here it would take a quarter of the time.
    path.write_bytes(b"curves")


def two_phases(
    packed: Path,
    folder: Path | None,
    stop_after: int = LAST,
    filters: int = 4,
    second: str = "sgd",
    **settings: Any,
) -> tuple[list[Any], History, list[int]]:
    """The last layer alone for two epochs, then all for two: weights, history, the epochs it trained."""
    reported: list[int] = []

    def on_epoch(number: int, values: dict[str, float]) -> None:
        if number > stop_after:
            raise StoppedError
        reported.append(number)

    chosen = params(train=settings | {"early_stopping": {"patience": 9, "min_delta": 0.0}})
    warm_up = params(optimizer=optimizer("adam", ema_momentum=0.5)).optimizer
    then = params(optimizer=optimizer(second, schedule="plateau")).optimizer
    keras.utils.set_random_seed(1)
    with (
        Reader(packed / "train.h5") as train,
        Reader(packed / "val.h5") as val,
        Loader(train, 8, seed=1) as batches,
        Loader(val, 8) as val_batches,
    ):
        model = small_network(train.shape[1:], filters)
        trainer = Trainer(model, chosen.train, batches, val_batches, on_epoch, folder, draw)
        for layer in model.layers[:-1]:
            layer.trainable = False
        trainer.fit(warm_up, Duration(epochs=2))
        for layer in model.layers:
            layer.trainable = True
        trainer.fit(then, Duration(steps=7))
    return model.get_weights(), trainer.history, reported


@pytest.fixture(scope="module")
def undisturbed(packed: Any) -> tuple[list[Any], History, list[int]]:
    return two_phases(packed.packed, None)


def test_epochs_go_on_counting_through_the_phases(undisturbed: Any) -> None:
    _, history, reported = undisturbed
    assert reported == history["epoch"] == [1, 2, 3, 4]
    assert history["phase"] == [1, 1, 2, 2]
    assert history["learning_rate"] == pytest.approx([0.001, 0.001, 0.01, 0.01])


@pytest.mark.parametrize("epoch", [0, 1, 2, 3])
def test_a_training_stopped_in_either_phase_ends_the_same(
    epoch: int, undisturbed: Any, packed: Any, tmp_path: Path
) -> None:
    with pytest.raises(StoppedError):
        two_phases(packed.packed, tmp_path, stop_after=epoch)
    weights, history, reported = two_phases(packed.packed, tmp_path)
    expected, curves, _ = undisturbed
    assert reported == list(range(epoch + 1, LAST + 1))
    for name in ("epoch", "phase", "loss", "val_loss", "learning_rate"):
        assert history[name] == curves[name]
    for array, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(array, other)


def test_a_finished_training_is_not_trained_again(undisturbed: Any, packed: Any, tmp_path: Path) -> None:
    two_phases(packed.packed, tmp_path)
    weights, history, reported = two_phases(packed.packed, tmp_path)
    assert reported == []
    assert history["epoch"] == [1, 2, 3, 4]
    for array, other in zip(weights, undisturbed[0], strict=True):
        np.testing.assert_array_equal(array, other)


def test_the_best_epoch_may_come_before_the_interruption(packed: Any, tmp_path: Path) -> None:
    expected, _, _ = two_phases(packed.packed, None, keep="best")
    with pytest.raises(StoppedError):
        two_phases(packed.packed, tmp_path, stop_after=3, keep="best")
    weights, _, _ = two_phases(packed.packed, tmp_path, keep="best")
    for array, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(array, other)


def test_checkpoints_are_written_at_the_chosen_interval(packed: Any, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        two_phases(packed.packed, tmp_path, stop_after=1, checkpoint_every=2, checkpoint_minutes=None)
    assert not (tmp_path / "last.npz").exists()
    _, _, reported = two_phases(packed.packed, tmp_path, checkpoint_every=None, checkpoint_minutes=None)
    assert reported == [1, 2, 3, 4]
    assert {"history.json", "learning_curves.png"} <= {path.name for path in tmp_path.iterdir()}


def test_sigterm_after_the_last_batch_loses_nothing(
    packed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = params(train={"checkpoint_every": None, "checkpoint_minutes": None})
    monkeypatch.setattr(Monitor, "draw", after(1, sigterm))
    monkeypatch.setattr(Monitor, "update", lambda *_: None)
    with pytest.raises(TrainingInterruptedError, match="after its last batch"):
        trained(packed, chosen, tmp_path)
    monkeypatch.setattr(callbacks.Watch, "on_train_batch_begin", after(1, stop_hard), raising=False)
    assert trained(packed, chosen, tmp_path)["epoch"] == [1, 2, 3]


def trained(packed: Any, chosen: cnn.Params, folder: Path) -> History:
    """Train in one phase, with a folder for checkpoints."""
    network = cnn.create(chosen)
    network.checkpoints = folder
    with Reader(packed.packed / "train.h5") as train, Reader(packed.packed / "val.h5") as val:
        return network.fit(train, val, lambda *_: None)


SERIES = ("epoch", "phase", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


def sigterm() -> None:
    signal.raise_signal(signal.SIGTERM)


def stop_hard() -> None:
    raise StoppedError


def after(batches: int, stop: Callable[[], None]) -> Callable[..., None]:
    """A function that calls `stop` when it is called for the last of so many times."""
    numbers = count(1)

    def interrupt(*_: Any, **__: Any) -> None:
        if next(numbers) == batches:
            stop()

    return interrupt


@pytest.mark.parametrize(
    ("stop", "minutes", "keep", "monitor"),
    [(sigterm, None, "best", "val_accuracy"), (stop_hard, 1e-9, "last", "val_loss")],
    ids=["SIGTERM", "killed after a checkpoint"],
)
def test_a_training_interrupted_at_random_batches_ends_bit_for_bit_the_same(
    stop: Any,
    minutes: float | None,
    keep: str,
    monitor: str,
    packed: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Batches of both splits, in both phases; each attempt is interrupted some batches on."""
    expected, curves, _ = two_phases(packed.packed, None, keep=keep, monitor=monitor)
    draw = np.random.default_rng(7)
    attempts = 0
    result = None
    while result is None:
        attempts += 1
        interrupt = after(int(draw.integers(1, 6 + attempts)), stop)
        for name in ("on_train_batch_begin", "on_test_batch_begin"):
            monkeypatch.setattr(callbacks.Watch, name, interrupt, raising=False)
        settings = {"keep": keep, "monitor": monitor, "checkpoint_every": None, "checkpoint_minutes": minutes}
        try:
            result = two_phases(packed.packed, tmp_path, **settings)
        except (TrainingInterruptedError, StoppedError):
            assert attempts < 40
    weights, history, _ = result
    assert attempts > 4
    for name in SERIES:
        assert history[name] == curves[name], name
    for value, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(value, other)


def test_sigterm_stops_with_the_status_of_a_transient_error_and_the_handler_is_as_before(
    packed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(callbacks.Watch, "on_train_batch_begin", after(3, sigterm), raising=False)
    with pytest.raises(TrainingInterruptedError, match="has the checkpoint") as caught:
        two_phases(packed.packed, tmp_path)
    assert caught.value.status == 75
    assert signal.getsignal(signal.SIGTERM) is before
    assert (tmp_path / "last.npz").exists()


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_a_training_that_monitors_the_accuracy_resumes_after_the_validation_was_stopped(
    schedule: str, packed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras has built no metrics yet when early stopping and plateaus see the epochs before."""
    monkeypatch.setattr(callbacks.Watch, "on_test_begin", after(2, sigterm), raising=False)
    chosen = params(
        optimizer=optimizer("sgd", schedule=schedule),
        train={"monitor": "val_accuracy", "early_stopping": {"patience": 9, "min_delta": 0.0}},
    )
    with pytest.raises(TrainingInterruptedError):
        trained(packed, chosen, tmp_path)
    assert trained(packed, chosen, tmp_path)["epoch"] == [1, 2, 3]


def test_a_plateau_waits_as_long_after_an_interruption(
    packed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plateau = {"kind": "plateau", "patience": 3, "end": 5e-12}
    chosen = params(
        optimizer=optimizer("sgd", learning_rate=1e-9, schedule=plateau),
        # Of which the few val images have the same share right in each epoch.
        train={"epochs": 10, "batch_size": 20, "monitor": "val_accuracy"},
    )
    # In the eighth epoch of two batches, when the rate has fallen twice.
    monkeypatch.setattr(callbacks.Watch, "on_train_batch_begin", after(15, sigterm), raising=False)
    with pytest.raises(TrainingInterruptedError):
        trained(packed, chosen, tmp_path)
    rates = trained(packed, chosen, tmp_path)["learning_rate"]
    assert rates == pytest.approx([1e-9] * 4 + [1e-10] * 3 + [1e-11] * 3, rel=1e-6, abs=0)


def test_a_checkpoint_of_other_shapes_starts_anew_and_says_so(
    packed: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StoppedError):
        two_phases(packed.packed, tmp_path, stop_after=1)
    with caplog.at_level(logging.WARNING, logger="convoy"):
        _, _, reported = two_phases(packed.packed, tmp_path, filters=5)
    assert reported == [1, 2, 3, 4]
    (line,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert line.getMessage() == "ignored_checkpoint"
    assert line.fields["reason"] == "its weights have other shapes"  # type: ignore[attr-defined]


def test_a_checkpoint_that_does_not_fit_the_second_phase_starts_anew_at_the_next_try(
    packed: Any, tmp_path: Path
) -> None:
    with pytest.raises(StoppedError):
        two_phases(packed.packed, tmp_path, stop_after=3)
    with pytest.raises(TrainingInterruptedError, match="does not fit the optimizer of phase 2"):
        two_phases(packed.packed, tmp_path, second="adam")
    _, _, reported = two_phases(packed.packed, tmp_path, second="adam")
    assert reported == [1, 2, 3, 4]
