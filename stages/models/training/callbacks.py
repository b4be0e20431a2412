"""What looks on while Keras trains: figures and progress, the best weights, checkpoints."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from stages.common import log
from stages.common.errors import LearnerError
from stages.common.history import History, OnEpoch
from stages.data.loader import Loader
from stages.models.training import checkpoints
from stages.models.training.checkpoints import Arrays, Progress
from stages.models.training.monitor import Monitor

_SHOWN = ("loss", "accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class Span:
    """One phase's place in a training: its number from 1, its epochs (from 0, end excluded), its steps."""

    phase: int
    first: int
    end: int
    steps: int


class Watch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Reports progress and epochs, and stops a training that has become pointless or has all its steps."""

    def __init__(
        self, train: Loader, span: Span, history: History, on_epoch: OnEpoch, progress: log.Progress
    ) -> None:
        super().__init__()
        self._train, self._span, self._history = train, span, history
        self._on_epoch, self._progress = on_epoch, progress
        self._epoch = 0
        self._finished: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch, self._started, self._finished = epoch, time.monotonic(), []
        self._train.begin(epoch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise LearnerError(
                f"the loss became {loss} in epoch {self._epoch + 1}, step {batch + 1}; "
                "lower optimizer.learning_rate"
            )
        self._progress.advance(self._train.length(batch))
        self._finished.append(time.monotonic())
        if (self._epoch - self._span.first) * len(self._train) + batch + 1 == self._span.steps:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        if not math.isfinite(values["val_loss"]):
            raise LearnerError(
                f"the val loss became {values['val_loss']} after epoch {epoch + 1}; "
                "lower optimizer.learning_rate"
            )
        values["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        # The last batch's end is the end of training proper: what follows is validation.
        seconds = max(self._finished[-1] - self._started, 1e-9)
        images = sum(self._train.length(batch) for batch in range(len(self._finished)))
        values["images_per_second"] = images / seconds
        values["data_wait_share"] = self._train.waited(self._finished) / seconds
        values["phase"] = float(self._span.phase)
        for name, value in {"epoch": float(epoch + 1), **values}.items():
            self._history.setdefault(name, []).append(value)
        self._on_epoch(epoch + 1, values)
        shown = {name: f"{values[name]:.4f}" for name in _SHOWN}
        rate = f"{values['images_per_second']:.0f}/s"
        wait = f"{values['data_wait_share']:.0%}"
        log.event("epoch", number=f"{epoch + 1}/{self._span.end}", **shown, images=rate, data_wait=wait)


class Draw(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the monitor up to date."""

    def __init__(self, monitor: Monitor, history: History) -> None:
        super().__init__()
        self._monitor, self._history = monitor, history

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._monitor.update(self._history)


@dataclass
class Best:
    """The best epoch, from 1, by `monitor`, and its weights. One for all phases of a training."""

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

    In front of SwapEMAWeights, so that they are the averaged ones where there is an average.
    """

    def __init__(self, best: Best) -> None:
        super().__init__()
        self._best, self._epoch = best, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch + 1

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        value = (logs or {})[self._best.monitor.removeprefix("val_")]
        self._best.offer(self._epoch, float(value), lambda: arrays(self.model.variables))


class Checkpoint(keras.callbacks.Callback):  # type: ignore[misc]
    """Saves the training every few epochs, and goes on from what was saved. The last of all callbacks.

    Saved are the model's variables (weights, statistics, the state of random generators) and the
    optimizer's (also its rate and averages). `decisive` are callbacks with a memory of their own (early
    stopping, plateaus): they are shown the figures of the epochs that have been, which brings it back.
    """

    def __init__(
        self,
        folder: Path,
        every: int,
        span: Span,
        history: History,
        best: Best | None,
        decisive: Sequence[keras.callbacks.Callback],
        restored: Arrays | None,
    ) -> None:
        super().__init__()
        self._folder, self._every, self._span, self._history = folder, every, span, history
        self._best, self._decisive, self._restored = best, decisive, restored

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._restored is None:
            return
        for number, _ in enumerate(self._history["epoch"][self._span.first :], self._span.first):
            figures = {name: values[number] for name, values in self._history.items()}
            for callback in self._decisive:
                callback.on_epoch_end(number, figures)
        assign([*self.model.variables, *self.model.optimizer.variables], self._restored)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        over = self.model.stop_training or epoch + 1 == self._span.end
        if not over and (epoch + 1 - self._span.first) % self._every:
            return
        best = self._best.epoch if self._best else None
        checkpoints.write(
            self._folder,
            Progress(phase=self._span.phase, over=over, best=best, history=self._history),
            arrays([*self.model.variables, *self.model.optimizer.variables]),
            self._best.weights if self._best else None,
        )


def arrays(variables: Sequence[keras.Variable]) -> Arrays:
    """The values of variables, copied."""
    return [np.array(keras.ops.convert_to_numpy(one)) for one in variables]


def assign(variables: Sequence[keras.Variable], values: Arrays) -> None:
    """Give variables these values."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
