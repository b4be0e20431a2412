"""The training loop: Keras' own `fit`, watched."""

import math
import time
from typing import Any

import keras

from stages import log
from stages.data.store import Reader
from stages.errors import LearnerError
from stages.learners import History, OnEpoch
from stages.training import optimizers
from stages.training.batches import Batches
from stages.training.optimizers import Adam, Sgd


def fit(
    model: keras.Model,
    optimizer: Sgd | Adam,
    train: Reader,
    val: Reader,
    epochs: int,
    batch_size: int,
    seed: int,
    on_epoch: OnEpoch,
) -> History:
    """Train with cross-entropy on `train`, measuring accuracy and loss on `val` after each epoch.

    Returns per epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, images_per_second.
    Raises LearnerError as soon as the loss is not a number.
    """
    batches = Batches(train, batch_size, seed)
    model.compile(
        optimizer=optimizers.build(optimizer, steps=epochs * len(batches)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    with log.Progress("training", total=epochs * len(train), unit="picture") as progress:
        watch = _Watch(len(train), epochs, batch_size, progress, on_epoch)
        # Batches shuffles by itself: Keras would only reorder whole batches.
        model.fit(
            batches,
            validation_data=Batches(val, batch_size),
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=[watch],
        )
    return watch.history


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Reports progress and epochs, and stops a training that has become pointless."""

    def __init__(
        self, pictures: int, epochs: int, batch_size: int, progress: log.Progress, on_epoch: OnEpoch
    ) -> None:
        super().__init__()
        self.history: History = {}
        self._pictures, self._epochs, self._batch_size = pictures, epochs, batch_size
        self._progress, self._on_epoch = progress, on_epoch
        self._epoch = 0
        self._seconds = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch, self._started = epoch + 1, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise LearnerError(
                f"the loss became {loss} in epoch {self._epoch}, step {batch + 1}; "
                "lower optimizer.learning_rate"
            )
        done = min((batch + 1) * self._batch_size, self._pictures)
        self._progress.advance(done - min(batch * self._batch_size, self._pictures))
        # The last batch's end is the end of training proper: what follows is validation.
        self._seconds = time.monotonic() - self._started

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        values["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        values["images_per_second"] = self._pictures / max(self._seconds, 1e-9)
        for name, value in {"epoch": float(self._epoch), **values}.items():
            self.history.setdefault(name, []).append(value)
        self._on_epoch(self._epoch, values)
        shown = {name: f"{values[name]:.4f}" for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
        rate = f"{values['images_per_second']:.0f}/s"
        log.event("epoch", number=f"{self._epoch}/{self._epochs}", **shown, images=rate)
