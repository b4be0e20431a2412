"""Rosenblatt's perceptron, one for each class against the rest: Starter Bundle ch. 10."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stages.models.learners._incremental import IncrementalParams
from stages.models.learners._linear import Linear
from stages.models.learners._sklearn import read

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


class Params(IncrementalParams):
    """No learning rate: the weights start at zero, so it would only scale them and change no answer."""

    kind: Literal["perceptron"]
    code: Literal["stages/models/learners/perceptron.py"]


class Perceptron(Linear[Params]):
    """Learns from mistakes alone; it finds planes between the classes where there are any."""

    def estimator(self) -> "BaseEstimator":
        """Make a seeded estimator; the batches come shuffled."""
        from sklearn.linear_model import Perceptron as Estimator

        return Estimator(shuffle=False, random_state=self.params.seed, n_jobs=-1)


def create(params: Params) -> Perceptron:
    """Make a learner that is not fitted yet."""
    return Perceptron(params)


def load(folder: Path) -> Perceptron:
    """Load a fitted learner."""
    from sklearn.linear_model import Perceptron as Fitted

    return Perceptron(None, read(folder, Fitted))
