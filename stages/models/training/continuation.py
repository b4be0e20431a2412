"""Continuing a finished training: its weights into a new network, its history in front of the new one.

The books' "ctrl+c" method (Practitioner Bundle ch. 11) stops a training, lowers the rate and goes on from a
saved epoch. A saved network has no optimizer state, so the optimizer starts anew: its momentum is back after
some ten steps. A schedule of `segments` does the same within one training, with the optimizer's state.
"""

from pathlib import Path

import keras

from stages.common.errors import LearnerError, ParamsError
from stages.common.files import digest, read_json
from stages.common.history import History
from stages.models.training.monitor import SERIES

# Of the epochs before the continuation; its own phases count from 1.
EARLIER_PHASE = 0.0


def start(model: keras.Model, file: Path, sha256: str | None) -> History:
    """Give a new network the weights of a finished member.

    Args:
        model: the new network.
        file: the member's saved network, with its history.json beside it.
        sha256: of the file, in hex; None checks nothing.

    Returns:
        The member's history; its series `phase` is 0 throughout.

    Raises:
        ParamsError: there is no such file, or it has another SHA-256.
        LearnerError: its weights are of another network, or its history is not one of a network.
    """
    if not file.is_file():
        raise ParamsError(f"start_from.member: {file} does not exist; name a folder that `train` has written")
    if sha256 and (actual := digest(file)) != sha256:
        raise ParamsError(f"start_from: {file} has sha256 {actual}; the params state {sha256}")
    weights = keras.saving.load_model(file, compile=False, safe_mode=True).get_weights()
    if [array.shape for array in weights] != [tuple(weight.shape) for weight in model.weights]:
        raise LearnerError(
            f"start_from: {file} has weights of other shapes than {model.name} for these images"
        )
    model.set_weights(weights)
    history: History = read_json(file.with_name(SERIES))
    if "epoch" not in history:
        raise LearnerError(f"start_from: {file.with_name(SERIES)} is not the history of a network")
    return history | {"phase": [EARLIER_PHASE] * len(history["epoch"])}
