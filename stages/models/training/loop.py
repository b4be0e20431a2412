"""The training loop: Keras' own `fit`, watched, in one phase or several."""

import math
from pathlib import Path

import keras

from stages.common import log
from stages.common.history import History, OnEpoch
from stages.data.loader import Loader
from stages.models.training import callbacks, checkpoints, optimizers, range_test, regularization, schedules
from stages.models.training.callbacks import Span
from stages.models.training.durations import Duration
from stages.models.training.monitor import Draw, Monitor
from stages.models.training.optimizers import AnyOptimizer
from stages.models.training.range_test import RangeTest
from stages.models.training.schedules import Constant
from stages.models.training.settings import Settings


class Trainer:
    """Trains one network with cross-entropy on `train`, measured on `val` after each epoch.

    `fit` is one phase; called again, perhaps with other layers frozen, it is the next one, whose epochs go
    on counting. With a `folder`, checkpoints and the monitor's curves are kept there; phases that an earlier
    attempt has finished are passed over. The calls must be the same ones then.

    `history` has, per epoch: epoch, phase, loss, accuracy, val_loss, val_accuracy, learning_rate,
    images_per_second, and data_wait_share, the part (0-1) of the epoch's training in which the next batch
    was not ready.
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
    ) -> None:
        self.history: History = {}
        self._model, self._settings = model, settings
        self._train, self._val, self._on_epoch = train, val, on_epoch
        self._folder, self._monitor = folder, Monitor(folder, draw_curves)
        self._phase = 0
        self._best = callbacks.Best(settings.monitor) if settings.keep == "best" else None
        self._saved = checkpoints.read(folder) if folder else None
        if settings.l2:
            regularization.penalize(model, settings.l2)

    def fit(self, optimizer: AnyOptimizer, duration: Duration) -> None:
        """Train what is trainable of the network.

        Raises LearnerError as soon as the loss is not a number, and for a schedule that does not fit.
        """
        self._phase += 1
        if self._saved and self._saved[0].phase > self._phase:
            return
        steps = duration.in_steps(len(self._train))
        self._compile(optimizer, steps)
        restored, over = self._resume()
        first = self.history.get("phase", []).count(self._phase)
        done = len(self.history.get("epoch", []))
        span = Span(self._phase, done - first, done - first + math.ceil(steps / len(self._train)), steps)
        weights = sum(math.prod(one.shape) for one in self._model.trainable_weights)
        log.event("phase", number=self._phase, steps=steps, trainable_weights=weights)
        left = steps - first * len(self._train)
        with log.Progress("training", total=left * self._train.length(0), unit="image") as progress:
            watch = callbacks.Watch(self._train, span, self.history, self._on_epoch, progress)
            try:
                self._model.fit(
                    self._train,
                    validation_data=self._val,
                    initial_epoch=span.end if over else done,
                    epochs=span.end,
                    class_weight=self._class_weights(),
                    shuffle=False,  # The loader shuffles by itself: Keras would only reorder whole batches.
                    verbose=0,
                    callbacks=self._callbacks(optimizer, span, watch, restored),
                )
            finally:
                self._monitor.draw(self.history)
        if self._best and self._best.weights:
            callbacks.assign(self._model.variables, self._best.weights)
            log.event("kept the best", epoch=self._best.epoch, **{self._best.monitor: self._best.value})

    def range_test(self, optimizer: AnyOptimizer, steps: int) -> RangeTest:
        """Try learning rates instead of training; see range_test.py. The network is of no use afterwards."""
        plain = {"schedule": Constant(kind="constant"), "ema_momentum": None}
        self._compile(optimizer.model_copy(update=plain), steps)
        return range_test.run(self._model, self._train, steps)

    def _compile(self, optimizer: AnyOptimizer, steps: int) -> None:
        smoothing = self._settings.label_smoothing
        loss = (
            keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
            if self._train.soft
            else keras.losses.SparseCategoricalCrossentropy()
        )
        self._model.compile(
            optimizer=optimizers.build(optimizer, len(self._train), steps),
            loss=loss,
            metrics=["accuracy"],
            jit_compile=self._settings.xla,
        )
        self._model.optimizer.build(self._model.trainable_variables)

    def _callbacks(
        self,
        optimizer: AnyOptimizer,
        span: Span,
        watch: callbacks.Watch,
        restored: checkpoints.Arrays | None,
    ) -> list[keras.callbacks.Callback]:
        settings = self._settings
        chosen: list[keras.callbacks.Callback] = []
        if self._best:
            chosen.append(callbacks.KeepBest(self._best))
        if optimizer.ema_momentum:
            chosen.append(keras.callbacks.SwapEMAWeights())
        # The rate of the epoch that has been is noted before a plateau lowers it.
        chosen += [watch, callbacks.Draw(self._monitor, self.history)]
        decisive = schedules.callbacks(optimizer.schedule, settings.monitor)
        if stopping := settings.early_stopping:
            decisive.append(
                keras.callbacks.EarlyStopping(settings.monitor, stopping.min_delta, stopping.patience)
            )
        chosen += decisive
        if self._folder and (every := settings.checkpoint_every):
            arguments = (self._folder, every, span, self.history, self._best, decisive, restored)
            chosen.append(callbacks.Checkpoint(*arguments))
        return chosen

    def _resume(self) -> tuple[checkpoints.Arrays | None, bool]:
        """What is restored of this phase if an earlier attempt was in it, and whether it was over."""
        if self._saved is None:
            return None, False
        progress, variables, best = self._saved
        self._saved = None
        self.history.update(progress.history)
        if self._best and progress.best is not None:
            value = self.history[self._settings.monitor][progress.best - 1]
            self._best.epoch, self._best.value, self._best.weights = progress.best, value, best
        log.event("going on from a checkpoint", epoch=len(self.history["epoch"]), phase=progress.phase)
        return variables, progress.over

    def _class_weights(self) -> dict[int, float] | None:
        if self._settings.class_weights == "none":
            return None
        return regularization.class_weights(self._train.labels, self._train.classes)
