"""The training loop: Keras' own `fit` with callbacks, in one phase or several."""

import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import keras

from stages.common import log, ranks
from stages.common.errors import TrainingInterruptedError
from stages.common.history import History, OnEpoch
from stages.data.loader import Loader
from stages.models.training import (
    callbacks,
    checkpoints,
    compiling,
    continuation,
    interruption,
    phases,
    processes,
    range_test,
    regularization,
)
from stages.models.training.callbacks import Span
from stages.models.training.checkpoints import State
from stages.models.training.continuation import Earlier
from stages.models.training.durations import Duration
from stages.models.training.interruption import Interruption, Remainder
from stages.models.training.monitor import Draw, Monitor
from stages.models.training.optimizers import AnyOptimizer
from stages.models.training.phases import Phase, Shared
from stages.models.training.range_test import RangeTest
from stages.models.training.schedules import Constant
from stages.models.training.settings import Settings


class Trainer:
    """Trains one network with cross-entropy.

    `fit` is one phase; called again, perhaps with other layers frozen, it is the next one, whose epochs go on
    counting. Phases that an earlier attempt has finished are passed over, so the calls must be the same ones.

    Args:
        model: the network, not compiled.
        settings: how to train.
        train: batches to learn from.
        val: batches to measure on after each epoch.
        on_epoch: called after each epoch.
        folder: for checkpoints and the monitor's curves; None writes neither.
        draw_curves: draws a history into a PNG file; None draws no curves.
        earlier: the training that this one continues; None: none. Its epochs are reported first, and the
            new ones count on.

    Attributes:
        history: per epoch: epoch, phase, loss, accuracy, val_loss, val_accuracy, learning_rate (of the last
            step), images_per_second, and data_wait_share, the part (0-1) of the epoch's training in which the
            next batch was not ready. Of a continued training, the series that all epochs have.
    """

    def __init__(
        self,
        model: keras.Model,
        settings: Settings,
        train: Loader,
        val: Loader,
        on_epoch: OnEpoch,
        folder: Path | None = None,
        draw_curves: Draw | None = None,
        earlier: Earlier | None = None,
    ) -> None:
        self._earlier = earlier or Earlier({})
        self.history: History = {name: list(values) for name, values in self._earlier.history.items()}
        self._model, self._settings = model, settings
        self._train, self._val = train, val
        self._folder, self._monitor = folder, Monitor(folder if ranks.is_first() else None, draw_curves)
        self._phase = 0
        self._best = callbacks.Best(settings.monitor) if settings.keep == "best" else None
        self._shared = Shared(settings, train, self.history, on_epoch, folder, self._monitor, self._best)
        self._saved = self._read(model.variables)
        progress = self._saved.progress if self._saved else None
        processes.check_agreement("the training or its checkpoint", f"{folder and folder.name} {progress}")
        for number, epoch in enumerate(self.history.get("epoch", [])):
            on_epoch(
                int(epoch), {name: series[number] for name, series in self.history.items() if name != "epoch"}
            )
        if settings.l2:
            regularization.penalize(model, settings.l2)

    def fit(self, optimizer: AnyOptimizer, duration: Duration) -> None:
        """Train what is trainable of the network.

        Raises:
            LearnerError: the loss is not a number, or the schedule does not fit the duration.
            TrainingInterruptedError: SIGTERM came; a checkpoint is written.
        """
        self._phase += 1
        if self._saved and self._saved.progress.phase > self._phase:
            return
        with interruption.noted() if self._folder else nullcontext(Interruption()) as requested:
            self._fit(optimizer, duration.in_steps(len(self._train)), requested)
        if self._best and self._best.weights:
            callbacks.assign(self._model.variables, self._best.weights)
            log.event(
                "restored_best_weights", epoch=self._best.epoch, **{self._best.monitor: self._best.value}
            )

    def _fit(self, optimizer: AnyOptimizer, steps: int, requested: Interruption) -> None:
        """Train one phase: the rest of an interrupted epoch, then whole epochs."""
        compiling.compile_model(self._model, self._settings, optimizer, self._train, steps)
        if self._phase == 1:
            # A state has the optimizer's variables too, and not where a schedule begins.
            continuation.resume_optimizer(self._model, self._earlier)
        state = self._resume()
        first = self.history.get("phase", []).count(self._phase)
        start = len(self.history.get("epoch", [])) - first
        span = Span(self._phase, start, start + math.ceil(steps / len(self._train)), steps)
        weights = sum(math.prod(weight.shape) for weight in self._model.trainable_weights)
        log.event("started_phase", number=self._phase, steps=steps, trainable_weights=weights)
        remaining = steps - first * len(self._train) - (state.progress.batch if state else 0)
        images = remaining * self._train.length(0)
        with log.Progress("training", total=images, unit="image") as progress:
            phase = Phase(optimizer, span, progress, requested)
            try:
                while state and state.progress.batch:
                    state = self._finish_epoch(phase, state)
                self._run(phase, state)
            finally:
                self._monitor.draw(self.history)

    def range_test(self, optimizer: AnyOptimizer, steps: int) -> RangeTest:
        """Try learning rates instead of training; see range_test.py. The network is of no use afterwards."""
        plain = {"schedule": Constant(kind="constant"), "ema_momentum": None}
        plain_optimizer = optimizer.model_copy(update=plain)
        compiling.compile_model(self._model, self._settings, plain_optimizer, self._train, steps)
        return range_test.run(self._model, self._train, steps)

    def _run(self, phase: Phase, state: State | None) -> None:
        """Train from the beginning of an epoch to the end of the phase."""
        over = state is not None and state.progress.over
        self._keras_fit(
            self._train,
            phase.span.end if over else len(self.history.get("epoch", [])),
            phase.span.end,
            phases.callbacks_of(self._shared, phase, state),
        )

    def _finish_epoch(self, phase: Phase, state: State) -> State | None:
        """Train what is missing of an epoch that was interrupted within; returns the state at its end.

        It has to be restored: Keras overwrites weights with their moving average at the end of each `fit`.
        """
        span = replace(phase.span, first_batch=state.progress.batch)
        phase = replace(phase, span=span)
        epoch = len(self.history.get("epoch", []))
        trained = (epoch - span.first) * len(self._train) + span.first_batch
        if span.first_batch < len(self._train) and trained < span.steps:
            # Keras makes the accuracy's variables, which the checkpoint has values for, at the first batch.
            self._model.test_on_batch(*self._val[0])
            chosen = phases.callbacks_of(self._shared, phase, state)
            self._keras_fit(Remainder(self._train, span.first_batch), epoch, epoch + 1, chosen)
        else:
            state = replace(state, metrics=[])
            chosen = phases.callbacks_of(self._shared, phase, state)
            self._validate(
                epoch, state.progress.logs, keras.callbacks.CallbackList(chosen, model=self._model)
            )
        state_at_end: State | None = chosen[-1].written
        return state_at_end

    def _keras_fit(
        self,
        batches: keras.utils.PyDataset,
        epoch: int,
        end: int,
        chosen: list[keras.callbacks.Callback],
    ) -> None:
        self._model.fit(
            batches,
            validation_data=self._val,
            initial_epoch=epoch,
            epochs=end,
            shuffle=False,  # The loader shuffles by itself: Keras would only reorder whole batches.
            verbose=0,
            callbacks=chosen,
        )

    def _validate(self, epoch: int, logs: dict[str, float], chosen: keras.callbacks.CallbackList) -> None:
        """End an epoch whose batches have all been trained: Keras' `fit` refuses one without batches."""
        # As `fit` does.
        self._model.stop_training = False
        chosen.on_train_begin()
        chosen.on_epoch_begin(epoch)
        measured = self._model.evaluate(self._val, callbacks=chosen, return_dict=True, verbose=0)
        chosen.on_epoch_end(epoch, logs | {f"val_{name}": value for name, value in measured.items()})

    def _resume(self) -> State | None:
        """The state to restore of this phase, if an earlier attempt was in it."""
        if (state := self._saved) is None:
            return None
        self._saved = None
        assert self._folder is not None
        shapes = [tuple(variable.shape) for variable in callbacks.state_variables(self._model)]
        if not checkpoints.fits(state, shapes, self._folder):
            if self._phase == 1:
                return None
            # The phases before this one have been passed over.
            raise TrainingInterruptedError(
                f"the checkpoint in {self._folder} does not fit the optimizer of phase {self._phase}; "
                "it is removed, and the same command starts anew"
            )
        progress = state.progress
        self.history.clear()
        self.history.update(progress.history)
        if self._best and progress.best is not None:
            value = self.history[self._settings.monitor][progress.best - 1]
            self._best.epoch, self._best.value, self._best.weights = progress.best, value, state.best
        epochs = len(self.history.get("epoch", []))
        log.event("resumed_training", epoch=epochs, batch=progress.batch, phase=progress.phase)
        return state

    def _read(self, variables: list[keras.Variable]) -> State | None:
        """The state in the folder, if its weights have the model's shapes."""
        if self._folder is None or (state := checkpoints.read(self._folder)) is None:
            return None
        shapes = [tuple(variable.shape) for variable in variables]
        return state if checkpoints.fits(state, shapes, self._folder) else None
