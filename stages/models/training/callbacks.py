"""Keras callbacks of a training: figures and progress, the best weights, checkpoints."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from stages.common import log
from stages.common.errors import DivergedError
from stages.common.history import History, OnEpoch
from stages.data.loader import Loader
from stages.models.training import checkpoints
from stages.models.training.checkpoints import Arrays, Progress, State
from stages.models.training.interruption import Interruption, TrainingInterruptedError
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
        values["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        values |= self._speed()
        values["phase"] = float(self._span.phase)
        for name, value in {"epoch": float(epoch + 1), **values}.items():
            self._history.setdefault(name, []).append(value)
        self._on_epoch(epoch + 1, values)
        shown = {name: f"{values[name]:.4f}" for name in _SHOWN}
        rate = f"{values['images_per_second']:.0f}/s"
        wait = f"{values['data_wait_share']:.0%}"
        log.event("epoch", number=f"{epoch + 1}/{self._span.end}", **shown, images=rate, data_wait=wait)

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


@dataclass(frozen=True)
class Schedule:
    """When checkpoints are written, and where: after so many epochs, after so many minutes; None: never."""

    folder: Path
    epochs: int | None
    minutes: float | None


class Checkpoint(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes the training's state, and restores it. The last of all callbacks.

    The state is the model's variables (weights, statistics, random generators) and the optimizer's (also its
    rate and averages); within an epoch also the metrics' sums. After SIGTERM it is written at the end of the
    current batch, of the train split or of the val split, and TrainingInterruptedError is raised.

    Args:
        schedule: when and where to write.
        span: the phase.
        history: of all epochs so far.
        best: the best weights so far, where they are kept.
        replayed: callbacks with a memory of their own (early stopping, plateaus). They are called with the
            figures of past epochs, which restores that memory.
        averaging: what swaps averaged weights in for validation, if anything does.
        state: what to restore; None starts from the network as it is.
        interruption: whether SIGTERM has come.
    """

    def __init__(
        self,
        schedule: Schedule,
        span: Span,
        history: History,
        best: Best | None,
        replayed: Sequence[keras.callbacks.Callback],
        averaging: keras.callbacks.SwapEMAWeights | None,
        state: State | None,
        interruption: Interruption,
    ) -> None:
        super().__init__()
        self._schedule, self._span, self._history, self._best = schedule, span, history, best
        self._replayed, self._averaging, self._state = replayed, averaging, state
        self._interruption = interruption
        self._batch = span.first_batch
        self._logs: dict[str, Any] = state.progress.logs if state else {}
        self._written = time.monotonic()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._state is None:
            return
        for number, _ in enumerate(self._history.get("epoch", [])[self._span.first :], self._span.first):
            figures = {name: values[number] for name, values in self._history.items()}
            for callback in self._replayed:
                callback.on_epoch_end(number, figures)
        assign(state_variables(self.model), self._state.variables)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._batch = self._span.first_batch
        if self._state and self._state.metrics:
            # Keras has just set them to zero.
            assign(self.model.metrics_variables, self._state.metrics)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._batch = self._span.first_batch + batch + 1
        self._logs = logs or {}
        minutes = self._schedule.minutes
        due = minutes is not None and time.monotonic() - self._written >= 60 * minutes
        if due or self._interruption.requested:
            self._sync()
            self._write(batch=self._batch, metrics=arrays(self.model.metrics_variables))
        self._stop_if_requested()

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not self._interruption.requested:
            return
        self._sync()
        if self._averaging:
            # Swaps the training's own weights in again.
            self._averaging.on_test_end()
        self._write(batch=self._batch)
        self._stop_if_requested()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        over = self.model.stop_training or epoch + 1 == self._span.end
        every, minutes = self._schedule.epochs, self._schedule.minutes
        due = every is not None and (epoch + 1 - self._span.first) % every == 0
        due = due or (over and (every is not None or minutes is not None))
        # The rest of an interrupted epoch is a `fit` of its own, and the next one starts from its end.
        if due or self._span.first_batch or self._interruption.requested:
            self._write(over=over)
        self._stop_if_requested()

    def _sync(self) -> None:
        """Give the variables their values, which JAX holds elsewhere within an epoch."""
        if sync := getattr(self.model, "jax_state_sync", None):
            sync()

    def _write(self, over: bool = False, batch: int = 0, metrics: Arrays | None = None) -> None:
        best = self._best.epoch if self._best else None
        logs = {name: float(value) for name, value in self._logs.items()} if batch else {}
        progress = Progress(self._span.phase, over, best, self._history, batch, logs)
        weights = self._best.weights if self._best else None
        state = State(progress, arrays(state_variables(self.model)), metrics or [], weights)
        checkpoints.write(self._schedule.folder, state)
        self._written = time.monotonic()

    def _stop_if_requested(self) -> None:
        if self._interruption.requested:
            raise TrainingInterruptedError(
                f"SIGTERM stopped the training after {len(self._history.get('epoch', []))} epochs; "
                f"{self._schedule.folder} has the checkpoint that the same command resumes from"
            )


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
