"""Train the network of a member on packed images, and say which test images it classifies correctly."""

from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray

from stages.common.errors import ParamsError
from stages.data import store
from stages.models import learners
from stages.models.learners import cnn
from stages.models.protocols import Learner, LearnerParams
from stages.scoring.predictions import Predictions

Seeds = Annotated[list[int], Parameter(consume_multiple=True)]
# The probability that a difference is below its interval, and the same above it: of 95 %.
TAIL = 0.025


def network(name: str, params: LearnerParams) -> cnn.Params:
    """The params of a member whose learner is a network.

    Raises:
        ParamsError: It is none.
    """
    if not isinstance(params, cnn.Params):
        raise ParamsError(f"models.{name} is of kind {params.kind}; must be cnn")
    return params


def seeded(params: cnn.Params, seed: int) -> cnn.Params:
    """The same with another seed of the weights and of the order; the split stays."""
    return params.model_copy(update={"train": params.train.model_copy(update={"seed": seed})})


def train(params: cnn.Params, packed: Path) -> Learner:
    """Train as the stage does, without checkpoints and tracking."""
    learner: Learner = learners.create(params)
    with store.Reader(packed / "train.h5") as rows, store.Reader(packed / "val.h5") as val:
        learner.fit(rows, val, lambda *_: None)
    return learner


def predictions(learner: Learner, packed: Path) -> Predictions:
    """What the learner predicts for the images of a packed file."""
    with store.Reader(packed) as rows:
        return Predictions(rows.ids, rows.column("labels"), learners.predict_all(learner, rows))


def correct(learner: Learner, packed: Path) -> NDArray[np.float64]:
    """1 for each test image (N,) whose most probable class is its label, else 0."""
    return predictions(learner, packed / "test.h5").correct.astype(np.float64)
