"""The learners: one file per kind, found by its name.

A file holds a `Params` class (`kind: Literal["NAME"]`, a subclass of protocols.LearnerParams) and two
functions: `create(params)`, a learner that is not fitted, and `load(folder)`, a fitted one.
"""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from stages.common import plugins
from stages.common.errors import LearnerError
from stages.common.files import read_json
from stages.data import portions
from stages.data.store import Reader
from stages.models.protocols import Learner, LearnerParams

SPEC = "spec.json"
HISTORY = "history.json"
# Of a network: the delivered weights on the val split and on a sample of the train split.
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
    try:
        kind = read_json(folder / SPEC)["kind"]
        learner: Learner = plugins.module(__name__, kind).load(folder)
    # skops raises a TypeError for types it does not trust.
    except (OSError, ValueError, KeyError, TypeError, ModuleNotFoundError, BadZipFile) as error:
        raise LearnerError(f"{folder} holds no model of this version: {error!r}; run train again") from error
    return learner


def predict_all(learner: Learner, rows: Reader) -> NDArray[np.float32]:
    """Predict every row of a file.

    Returns:
        Class probabilities float32 (N, K), in the file's order.
    """
    return np.concatenate(list(portions.mapped(learner.predict_proba, rows)))
