"""The training loop: Keras' own `fit`, watched."""

import math
import time
from typing import Any

import keras

from stages import log
from stages.data.loader import Loader
from stages.errors import LearnerError
from stages.learners import History, OnEpoch
from stages.training import optimizers
from stages.training.optimizers import Adam, Sgd


def fit(
    model: keras.Model,
    optimizer: Sgd | Adam,
    train: Loader,
    val: Loader,
    epochs: int,
    on_epoch: OnEpoch,
) -> History:
    """Train with cross-entropy on `train`, measuring accuracy and loss on `val` after each epoch.

    Returns per epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, images_per_second, and
    data_wait_share, the part (0-1) of the epoch's training in which the next batch was not ready.
    Raises LearnerError as soon as the loss is not a number.
    """
    model.compile(
        optimizer=optimizers.build(optimizer, steps=epochs * len(train)),
        loss="categorical_crossentropy" if train.soft else "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    with log.Progress("training", total=epochs * train.pictures, unit="picture") as progress:
        watch = _Watch(train, epochs, progress, on_epoch)
        # The loader shuffles by itself: Keras would only reorder whole batches.
        model.fit(train, validation_data=val, epochs=epochs, shuffle=False, verbose=0, callbacks=[watch])
    return watch.history


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Reports progress and epochs, and stops a training that has become pointless."""

    def __init__(self, train: Loader, epochs: int, progress: log.Progress, on_epoch: OnEpoch) -> None:
        super().__init__()
        self.history: History = {}
        self._train, self._epochs, self._progress, self._on_epoch = train, epochs, progress, on_epoch
        self._epoch = 0
        self._finished: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch, self._started, self._finished = epoch + 1, time.monotonic(), []
        self._train.begin(epoch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise LearnerError(
                f"the loss became {loss} in epoch {self._epoch}, step {batch + 1}; "
                "lower optimizer.learning_rate"
            )
        self._progress.advance(self._train.length(batch))
        self._finished.append(time.monotonic())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        values["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        # The last batch's end is the end of training proper: what follows is validation.
        seconds = max(self._finished[-1] - self._started, 1e-9)
        values["images_per_second"] = self._train.pictures / seconds
        values["data_wait_share"] = self._train.waited(self._finished) / seconds
        for name, value in {"epoch": float(self._epoch), **values}.items():
            self.history.setdefault(name, []).append(value)
        self._on_epoch(self._epoch, values)
        shown = {name: f"{values[name]:.4f}" for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
        rate = f"{values['images_per_second']:.0f}/s"
        wait = f"{values['data_wait_share']:.0%}"
        log.event("epoch", number=f"{self._epoch}/{self._epochs}", **shown, images=rate, data_wait=wait)
