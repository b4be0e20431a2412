"""Checkpoints of single epochs that stay with a member, to look at or to go on from.

The books' `EpochCheckpoint` (Practitioner Bundle ch. 11, every five epochs) and checkpoints of improvements
(Starter Bundle ch. 18). A file holds the network's variables, the optimizer's and the history; it is named by
epoch and value, such as epoch-034-val_loss-0.5546.npz. The checkpoint that a killed training resumes from is
another file, see checkpoints.py.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras

from stages.common.errors import UNREADABLE, LearnerError, raise_if_transient
from stages.common.files import remove
from stages.common.history import History
from stages.models.training import array_files
from stages.models.training.array_files import Arrays
from stages.models.training.callbacks import arrays

Which = Literal["improving"] | int


@dataclass(frozen=True)
class EpochCheckpoint:
    """What a file holds.

    Attributes:
        model: values of the network's variables: weights, statistics, random generators.
        slots: values of the optimizer's variables besides rate and count.
        roles: of each slot, such as momentum; see `roles`.
        iterations: the optimizer's count of steps.
        history: of all epochs up to this one.
    """

    model: Arrays
    slots: Arrays
    roles: list[str]
    iterations: int
    history: History


class Save(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Writes a file at the end of an epoch, of every so many epochs or of those that improve.

    Args:
        folder: where the files go; it is made.
        which: `improving`, or the number of epochs between two files.
        monitor: what improves: val_loss or val_accuracy.
        history: of all epochs so far; this callback comes after the one that adds to it.
        first: the number of epochs before the first that counts, for a number of epochs.
    """

    def __init__(self, folder: Path, which: Which, monitor: str, history: History, first: int = 0) -> None:
        super().__init__()
        self._folder, self._which, self._monitor = folder, which, monitor
        self._history, self._first = history, first

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Remove what an attempt that was killed wrote after its last checkpoint."""
        for path in self._folder.glob("epoch-*.npz"):
            if int(path.name.split("-")[1]) > len(self._history.get("epoch", [])):
                remove(path)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the file of this epoch, if it is one to keep."""
        values = self._history[self._monitor]
        if self._which == "improving":
            better = min if self._monitor == "val_loss" else max
            due = values.index(better(values)) == len(values) - 1
        else:
            due = (epoch + 1 - self._first) % self._which == 0
        if due:
            _write(
                self._folder / f"epoch-{epoch + 1:03d}-{self._monitor}-{values[-1]:.4f}.npz",
                self.model,
                self._history,
            )


def read(path: Path) -> EpochCheckpoint:
    """Read a file that a training wrote.

    Raises:
        LearnerError: the file is something else.
    """
    try:
        values, (model, slots) = array_files.read(path, "model", "slots")
        saved = EpochCheckpoint(model, slots, **values)
        if not saved.history["epoch"]:
            raise ValueError("its history has no epoch")
        return saved
    except UNREADABLE as error:
        raise_if_transient(error)
        reason = re.sub(r"\s+", " ", str(error))
        raise LearnerError(f"{path} is no checkpoint of an epoch: {reason}") from None


def slots(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The optimizer's variables besides its rate and its count of steps."""
    excluded = {id(optimizer.iterations), id(optimizer.learning_rate)}
    return [variable for variable in optimizer.variables if id(variable) not in excluded]


def roles(optimizer: keras.optimizers.Optimizer) -> list[str]:
    """What each slot holds, such as momentum or velocity; empty for what is not of one weight.

    The shapes do not say it: SGD's momentum and RMSprop's velocity have those of the weights. Keras names a
    slot by its weight and its role.
    """
    paths = [variable.path for variable in slots(optimizer)]
    return [path.rpartition("_")[2] if "/" in path else "" for path in paths]


def _write(path: Path, model: keras.Model, history: History) -> None:
    optimizer = model.optimizer
    values = {
        "roles": roles(optimizer),
        "iterations": int(keras.ops.convert_to_numpy(optimizer.iterations)),
        "history": history,
    }
    array_files.write(path, values, model=arrays(model.variables), slots=arrays(slots(optimizer)))
