"""The learners: one file per kind, found by its name.

A file holds a `Params` class (`kind: Literal["NAME"]`, a subclass of protocols.LearnerParams) and two
functions: `create(params)`, a learner that is not fitted, and `load(folder)`, a fitted one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.common import plugins
from stages.common.errors import UNREADABLE, LearnerError, raise_if_transient
from stages.common.files import read_json
from stages.data import portions
from stages.data.store import Reader
from stages.models.protocols import Learner, LearnerParams

SPEC = "spec.json"
HISTORY = "history.json"
# Of a network: the delivered weights on val and on samples of train and, where there is one, of train-val.
FIT = "fit.json"


def create(params: LearnerParams) -> Learner:
    """Make a learner that is not fitted yet."""
    learner: Learner = plugins.module(__name__, params.kind).create(params)
    return learner


def load(folder: Path) -> Learner:
    """Load the fitted learner that the stage `train` saved.

    Args:
        folder: `models/NAME`.

    Raises:
        LearnerError: the folder holds no learner, or one of another version.
    """
    with _refusing_others(folder):
        learner: Learner = plugins.module(__name__, read_json(folder / SPEC)["kind"]).load(folder)
    return learner


def read_spec(folder: Path) -> dict[str, Any]:
    """Read what `train` says of a fitted learner: its `kind` and what it reads; raises as `load` does."""
    with _refusing_others(folder):
        spec: dict[str, Any] = read_json(folder / SPEC)
        plugins.module(__name__, spec["kind"])
    return spec


@contextmanager
def _refusing_others(folder: Path) -> Iterator[None]:
    """Raise LearnerError where a folder holds no learner of this version."""
    try:
        yield
    # A kind that is none is a module that is not found. skops raises a TypeError for types it does not trust.
    except (*UNREADABLE, ModuleNotFoundError) as error:
        raise_if_transient(error)
        raise LearnerError(f"{folder} holds no model of this version: {error!r}; run train again") from error


def predict_all(learner: Learner, rows: Reader) -> NDArray[np.float32]:
    """Predict every row of a file.

    Returns:
        Class probabilities float32 (N, K), in the file's order.
    """
    return np.concatenate(list(portions.mapped(learner.predict_proba, rows)))
