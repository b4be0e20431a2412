"""The Keras callback that writes checkpoints and resumes from them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from stages.common import ranks
from stages.common.errors import TrainingInterruptedError
from stages.common.history import History
from stages.models.training import checkpoints
from stages.models.training.array_files import Arrays
from stages.models.training.callbacks import Best, Span, arrays, assign, state_variables
from stages.models.training.checkpoints import Progress, State
from stages.models.training.interruption import Interruption


@dataclass(frozen=True)
class CheckpointTimes:
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
        times: when and where to write.
        span: the phase.
        history: of all epochs so far.
        best: the best weights so far, where they are kept.
        replayed: callbacks with a memory of their own (early stopping, plateaus). They are called with the
            figures of past epochs, which restores that memory.
        averaging: what swaps averaged weights in for validation, if anything does.
        state: what to restore; None starts from the network as it is.
        interruption: whether SIGTERM has come.

    Attributes:
        written: the state that was written last; None before. Of several processes, rank 0 alone writes the
            file.
    """

    def __init__(
        self,
        times: CheckpointTimes,
        span: Span,
        history: History,
        best: Best | None,
        replayed: Sequence[keras.callbacks.Callback],
        averaging: keras.callbacks.SwapEMAWeights | None,
        state: State | None,
        interruption: Interruption,
    ) -> None:
        super().__init__()
        self._times, self._span, self._history, self._best = times, span, history, best
        self._replayed, self._averaging, self._state = replayed, averaging, state
        self._interruption = interruption
        self.written: State | None = None
        self._batch = span.first_batch
        self._logs: dict[str, Any] = state.progress.logs if state else {}
        self._written = time.monotonic()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._state is None:
            return
        for number, _ in enumerate(self._history.get("epoch", [])[self._span.first :], self._span.first):
            figures = {name: values[number] for name, values in self._history.items()}
            for callback in self._replayed:
                if isinstance(callback, keras.callbacks.ReduceLROnPlateau):
                    # It forgets its waiting where it lowers the rate, and that depends on the rate.
                    self.model.optimizer.learning_rate = figures["learning_rate"]
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
        self._interruption.look()
        minutes = self._times.minutes
        due = minutes is not None and time.monotonic() - self._written >= 60 * minutes
        if due or self._interruption.requested:
            self._sync()
            self._write(batch=self._batch, metrics=arrays(self.model.metrics_variables))
        self._stop_if_requested()

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._interruption.look()
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
        every = self._times.epochs
        due = every is not None and (epoch + 1 - self._span.first) % every == 0
        # At the phase's end: SIGTERM may come before what has been trained is saved elsewhere.
        # The rest of an interrupted epoch is a `fit` of its own, and the next one starts from its end.
        if over or due or self._span.first_batch or self._interruption.requested:
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
        self.written = State(progress, arrays(state_variables(self.model)), metrics or [], weights)
        if ranks.is_first():
            checkpoints.write(self._times.folder, self.written)
        self._written = time.monotonic()

    def _stop_if_requested(self) -> None:
        if self._interruption.requested:
            raise TrainingInterruptedError(
                f"SIGTERM stopped the training after {len(self._history.get('epoch', []))} epochs; "
                f"{self._times.folder} has the checkpoint that the same command resumes from"
            )
