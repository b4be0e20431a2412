"""What `train` can fit: one file per kind of learner.

A kind is a module with a `Params` class (`kind: Literal["NAME"]`) and two functions: `create(params)`, an
unfitted learner, and `load(folder)`, a fitted one. The file's name is its registration.
"""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from stages.common import plugins
from stages.common.errors import LearnerError
from stages.common.files import read_json
from stages.common.history import History, OnEpoch
from stages.common.section import Section
from stages.data import portions
from stages.data.store import Reader

SPEC = "spec.json"
HISTORY = "history.json"


class LearnerParams(Section):
    """What every member has: its kind, the folder it reads, and the file whose edit re-runs it alone."""

    kind: str
    input: str
    code: str


class Learner(Protocol):
    """One member of the ensemble, from its first epoch to its probabilities."""

    def fit(self, train: Reader, val: Reader, on_epoch: OnEpoch) -> History:
        """Learn from `train`; look at `val` to report and to choose, never to fit."""

    def predict_proba(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Class probabilities (N, K) of rows as the store holds them: images or features.

        Several threads call it at once.
        """

    def save(self, folder: Path) -> None:
        """Write what `load` needs into an existing folder."""

    def describe(self, folder: Path) -> list[Path]:
        """Write what people look at to see what it is into an existing folder; returns the files."""


@runtime_checkable
class Resumable(Protocol):
    """A learner that keeps checkpoints in a folder, if it is given one, and goes on from what is there."""

    checkpoints: Path | None


def create(params: LearnerParams) -> Learner:
    """An unfitted learner."""
    learner: Learner = plugins.module(__name__, params.kind).create(params)
    return learner


def load(folder: Path) -> Learner:
    """The fitted learner that `train` saved. Raises LearnerError when the folder holds none."""
    try:
        kind = read_json(folder / SPEC)["kind"]
        learner: Learner = plugins.module(__name__, kind).load(folder)
    # skops raises a TypeError for types it does not trust.
    except (OSError, ValueError, KeyError, TypeError, ModuleNotFoundError, BadZipFile) as error:
        raise LearnerError(f"{folder} holds no model of this version: {error!r}") from error
    return learner


def predict_all(learner: Learner, rows: Reader) -> NDArray[np.float32]:
    """Class probabilities (N, K) of every row, in the file's order."""
    return np.concatenate(list(portions.mapped(learner.predict_proba, rows)))
