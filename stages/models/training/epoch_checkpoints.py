"""Checkpoints of single epochs that stay with a member, to look at or to go on from.

The books' `EpochCheckpoint` (Practitioner Bundle ch. 11, every five epochs) and checkpoints of improvements
(Starter Bundle ch. 18). A file holds the network's variables, the optimizer's and the history; it is named by
epoch and value, such as epoch-034-val_loss-0.5546.npz. The checkpoint that a killed training resumes from is
another file, see checkpoints.py.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import keras
import numpy as np

from stages.common.errors import LearnerError
from stages.common.files import remove, replace_atomically
from stages.common.history import History
from stages.models.training.callbacks import arrays
from stages.models.training.checkpoints import Arrays

Which = Literal["improving"] | int


@dataclass(frozen=True)
class EpochCheckpoint:
    """What a file holds.

    Attributes:
        model: values of the network's variables: weights, statistics, random generators.
        slots: values of the optimizer's variables besides rate and count, such as momentum.
        iterations: the optimizer's count of steps.
        history: of all epochs up to this one.
    """

    model: Arrays
    slots: Arrays
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
            self._folder.mkdir(exist_ok=True)
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
        with np.load(path, allow_pickle=False) as file:
            model, slots = (
                [file[f"{part}_{number}"] for number in range(int(file[f"{part}_count"]))]
                for part in ("model", "slots")
            )
            history: History = json.loads(str(file["history"]))
            if not history["epoch"]:
                raise ValueError("its history has no epoch")
            return EpochCheckpoint(model, slots, int(file["iterations"]), history)
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, BadZipFile) as error:
        reason = re.sub(r"\s+", " ", str(error))
        raise LearnerError(f"{path} is no checkpoint of an epoch: {reason}") from None


def slots(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The optimizer's variables besides its rate and its count of steps."""
    excluded = {id(optimizer.iterations), id(optimizer.learning_rate)}
    return [variable for variable in optimizer.variables if id(variable) not in excluded]


def _write(path: Path, model: keras.Model, history: History) -> None:
    parts = {"model": arrays(model.variables), "slots": arrays(slots(model.optimizer))}
    named: dict[str, Any] = {
        "iterations": np.asarray(keras.ops.convert_to_numpy(model.optimizer.iterations)),
        "history": np.array(json.dumps(history)),
    }
    for part, values in parts.items():
        named[f"{part}_count"] = np.array(len(values))
        named |= {f"{part}_{number}": value for number, value in enumerate(values)}
    with replace_atomically(path) as aside, aside.open("wb") as file:
        np.savez(file, **named)
