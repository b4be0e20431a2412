"""Continuing a finished training: its weights into a new network, its history in front of the new one.

The books' "ctrl+c" method (Practitioner Bundle ch. 11) stops a training, lowers the rate and goes on from the
checkpoint of an epoch. A saved network has no optimizer state, so from a member the optimizer starts anew:
its momentum is back after some ten steps. A checkpoint (`train.save_epochs`) has that state: the training
goes on as if it had never stopped, as a schedule of `segments` does within one training.
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from stages.common import log
from stages.common.errors import UNREADABLE, LearnerError, raise_if_transient
from stages.common.files import read_json
from stages.common.history import History
from stages.models.training import epoch_checkpoints
from stages.models.training.array_files import Arrays
from stages.models.training.callbacks import assign, schedule_of
from stages.models.training.epoch_checkpoints import EpochCheckpoint
from stages.models.training.monitor import SERIES

# Of the epochs before the continuation; its own phases count from 1.
EARLIER_PHASE = 0.0


@dataclass(frozen=True)
class Earlier:
    """The training that is continued.

    Attributes:
        history: its epochs; the series `phase` is 0 throughout.
        checkpoint: has the optimizer's state; None for a member, which has none.
    """

    history: History
    checkpoint: EpochCheckpoint | None = None


def of_member(model: keras.Model, file: Path) -> Earlier:
    """Give a new network the weights of a finished member.

    Args:
        model: the new network.
        file: the member's saved network, with its history.json beside it.

    Raises:
        LearnerError: a file is damaged or something else, its weights are of another network, or its history
            is not one of a network.
    """
    try:
        weights = keras.saving.load_model(file, compile=False, safe_mode=True).get_weights()
        history: History = read_json(file.with_name(SERIES))
    except UNREADABLE as error:
        raise_if_transient(error)
        reason = textwrap.shorten(str(error), 200)
        raise LearnerError(f"start_from: {file.parent} holds no network that can be read: {reason}") from None
    if [array.shape for array in weights] != [tuple(weight.shape) for weight in model.weights]:
        raise _other_network(file, model)
    model.set_weights(weights)
    if "epoch" not in history:
        raise LearnerError(f"start_from: {file.with_name(SERIES)} is not the history of a network")
    return Earlier(_as_earlier(history))


def of_checkpoint(model: keras.Model, file: Path) -> Earlier:
    """Give a new network the weights of an epoch's checkpoint; `resume_optimizer` gives the rest.

    Args:
        model: the new network.
        file: a file of models/NAME/checkpoints.

    Raises:
        LearnerError: it is no checkpoint, or of another network.
    """
    saved = epoch_checkpoints.read(file)
    if not _fit(saved.model, model.variables):
        raise _other_network(file, model)
    assign(model.variables, saved.model)
    return Earlier(_as_earlier(saved.history), saved)


def resume_optimizer(model: keras.Model, earlier: Earlier) -> None:
    """Give a compiled network's optimizer the state of the earlier training.

    The rate is the new params'. The count of steps goes on, which Adam's moments need; a schedule begins with
    the continuation. The state of another kind of optimizer is left out, and the log says so.
    """
    if (saved := earlier.checkpoint) is None:
        return
    optimizer = model.optimizer
    variables = epoch_checkpoints.slots(optimizer)
    if saved.roles != epoch_checkpoints.roles(optimizer) or not _fit(saved.slots, variables):
        log.event("started_optimizer_anew", reason="the checkpoint has the state of another optimizer")
        return
    assign(variables, saved.slots)
    optimizer.iterations.assign(saved.iterations)
    if schedule := schedule_of(optimizer):
        optimizer.learning_rate = _Later(schedule, saved.iterations)


class _Later(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras has no types
    """A schedule that begins when an optimizer has counted so many steps."""

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, first: int) -> None:
        self._schedule, self._first = schedule, first

    def __call__(self, step: Any) -> Any:
        return self._schedule(step - self._first)


def _fit(values: Arrays, variables: list[keras.Variable]) -> bool:
    return [array.shape for array in values] == [tuple(variable.shape) for variable in variables]


def _other_network(file: Path, model: keras.Model) -> LearnerError:
    return LearnerError(f"start_from: {file} has weights of other shapes than {model.name} for these images")


def _as_earlier(history: History) -> History:
    return history | {"phase": [EARLIER_PHASE] * len(history["epoch"])}
