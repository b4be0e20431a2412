"""Keras callbacks of a training: figures and progress, the best weights."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from stages.common import log
from stages.common.errors import DivergedError
from stages.common.history import History, OnEpoch
from stages.data.loader import Loader
from stages.models.training import rank_figures
from stages.models.training.array_files import Arrays
from stages.models.training.monitor import Monitor

_SHOWN = ("loss", "accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class Span:
    """One phase's place in a training.

    Attributes:
        phase: its number, from 1.
        first: its first epoch, counted from 0 over all phases.
        end: the epoch behind its last one.
        steps: its batches in all.
        first_batch: the batches of the next epoch that an interrupted attempt has trained already.
    """

    phase: int
    first: int
    end: int
    steps: int
    first_batch: int = 0


class Watch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Reports progress and epochs, and stops a training that has become pointless or has all its steps."""

    def __init__(
        self, train: Loader, span: Span, history: History, on_epoch: OnEpoch, progress: log.Progress
    ) -> None:
        super().__init__()
        self._train, self._span, self._history = train, span, history
        self._on_epoch, self._progress = on_epoch, progress
        self._epoch = 0
        self._batch_ends: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch, self._started, self._batch_ends = epoch, time.monotonic(), []
        self._train.begin(epoch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        batch += self._span.first_batch
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss became {loss} in epoch {self._epoch + 1}, step {batch + 1}; "
                "lower optimizer.learning_rate"
            )
        self._progress.advance(self._train.length(batch))
        self._batch_ends.append(time.monotonic())
        if (self._epoch - self._span.first) * len(self._train) + batch + 1 == self._span.steps:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        if not math.isfinite(values["val_loss"]):
            raise DivergedError(
                f"the val loss became {values['val_loss']} after epoch {epoch + 1}; "
                "lower optimizer.learning_rate"
            )
        values["learning_rate"] = _last_rate(self.model.optimizer)
        values |= self._speed()
        values["phase"] = float(self._span.phase)
        _append(self._history, {"epoch": float(epoch + 1), **values})
        # No series of the history: a training may resume with another number of processes.
        self._on_epoch(epoch + 1, values | self._of_ranks(values["data_wait_share"]))
        shown = {name: f"{values[name]:.4f}" for name in _SHOWN}
        rate = f"{values['images_per_second']:.0f}/s"
        wait = f"{values['data_wait_share']:.0%}"
        log.event(
            "finished_epoch", number=f"{epoch + 1}/{self._span.end}", **shown, images=rate, data_wait=wait
        )

    def _of_ranks(self, data_wait_share: float) -> dict[str, float]:
        steps = len(self._batch_ends)
        seconds = (self._batch_ends[-1] - self._started) / steps if steps else 0.0
        return rank_figures.measure(self.model, seconds, data_wait_share)

    def _speed(self) -> dict[str, float]:
        """Images per second, and the share of time without a ready batch, of this process's batches.

        Both are 0 where an interrupted attempt has trained the whole epoch.
        """
        if not self._batch_ends:
            return {"images_per_second": 0.0, "data_wait_share": 0.0}
        # The last batch's end is the end of training proper: validation follows.
        seconds = max(self._batch_ends[-1] - self._started, 1e-9)
        first = self._span.first_batch
        images = sum(self._train.length(first + batch) for batch in range(len(self._batch_ends)))
        waited = self._train.waited(self._batch_ends, first)
        return {"images_per_second": images / seconds, "data_wait_share": waited / seconds}


def _append(history: History, values: dict[str, float]) -> None:
    """Add an epoch. A series that the epochs of a continued training lack, or this one, is left out."""
    for name in history.keys() - values.keys():
        del history[name]
    for name in tuple(history or values):
        history.setdefault(name, []).append(values[name])


class Draw(keras.callbacks.Callback):  # type: ignore[misc]
    """Updates the training monitor after each epoch."""

    def __init__(self, monitor: Monitor, history: History) -> None:
        super().__init__()
        self._monitor, self._history = monitor, history

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._monitor.update(self._history)


@dataclass
class Best:
    """The best epoch, from 1, by `monitor`, and its weights. One object for all phases of a training."""

    monitor: str
    epoch: int | None = None
    value: float = math.nan
    weights: Arrays | None = field(default=None, repr=False)

    def offer(self, epoch: int, value: float, weights: Callable[[], Arrays]) -> None:
        """Take these weights if none were better; of equal ones the first stay."""
        sign = 1 if self.monitor == "val_accuracy" else -1
        if math.isfinite(value) and (self.epoch is None or sign * value > sign * self.value):
            self.epoch, self.value, self.weights = epoch, value, weights()


class KeepBest(keras.callbacks.Callback):  # type: ignore[misc]
    """Offers each epoch's weights when they have been validated.

    It comes before SwapEMAWeights, so that the weights are the averaged ones where there is an average.
    """

    def __init__(self, best: Best) -> None:
        super().__init__()
        self._best, self._epoch = best, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch + 1

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        value = (logs or {})[self._best.monitor.removeprefix("val_")]
        self._best.offer(self._epoch, float(value), lambda: arrays(self.model.variables))


def schedule_of(
    optimizer: keras.optimizers.Optimizer,
) -> keras.optimizers.schedules.LearningRateSchedule | None:
    """The schedule of an optimizer's learning rate; None where the rate is a number."""
    # Keras' property gives the rate alone. With float16, another optimizer scales the loss for this one.
    rate = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
    return rate if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule) else None


def _last_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """The learning rate of the last step that was trained; Keras' property gives that of the next one."""
    schedule = schedule_of(optimizer)
    rate = schedule(optimizer.iterations - 1) if schedule else optimizer.learning_rate
    return float(keras.ops.convert_to_numpy(rate))


def state_variables(model: keras.Model) -> list[keras.Variable]:
    """The variables of a compiled model that a training changes: the model's, then the optimizer's."""
    return [*model.variables, *model.optimizer.variables]


def arrays(variables: Sequence[keras.Variable]) -> Arrays:
    """The values of variables, copied."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign(variables: Sequence[keras.Variable], values: Arrays) -> None:
    """Give variables these values; as many of each."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
