"""k nearest neighbours, the baseline that learns nothing: Starter Bundle ch. 7."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stages.common.history import History, OnEpoch
from stages.common.section import Positive
from stages.data.store import Reader
from stages.models.learners._sklearn import (
    Classifier,
    ClassifierParams,
    fitted_normalizer,
    labels,
    matrix,
    pipeline,
    read,
)

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


class Params(ClassifierParams):
    """How neighbours vote.

    Attributes:
        neighbors: how many vote.
        metric: the distance.
        weights: `distance` weighs a vote by 1/distance.
    """

    kind: Literal["knn"]
    code: Literal["stages/models/learners/knn.py"]
    neighbors: Positive
    metric: Literal["euclidean", "manhattan"]
    weights: Literal["uniform", "distance"]


class NearestNeighbors(Classifier):
    """Probabilities are shares of the vote: with one neighbour 0 or 1. Ties go to the first class.

    The book's text breaks ties at random; then the same image would not have the same answer twice.
    The model is the train split itself, float32, in memory and on disk. Distances are brute force: trees are
    slower than that above some twenty columns.
    """

    def __init__(self, params: Params | None, model: "Pipeline | None" = None) -> None:
        super().__init__(model)
        self._params = params

    def fit(self, train: Reader, val: Reader, on_epoch: OnEpoch) -> History:
        """Store `train`; `val` is not used.

        Returns:
            An empty history.

        Raises:
            LearnerError: the train split does not fit in memory, or lacks a class.
        """
        from sklearn.neighbors import KNeighborsClassifier

        assert self._params is not None
        step = fitted_normalizer(self._params.normalize, train)
        classifier = KNeighborsClassifier(
            min(self._params.neighbors, len(train)),
            algorithm="brute",
            metric=self._params.metric,
            weights=self._params.weights,
        )
        classifier.fit(step.transform(matrix(train)), labels(train))
        self._model = pipeline(step, classifier)
        return {}


def create(params: Params) -> NearestNeighbors:
    """Make a learner that is not fitted yet."""
    return NearestNeighbors(params)


def load(folder: Path) -> NearestNeighbors:
    """Load a fitted learner."""
    from sklearn.neighbors import KNeighborsClassifier

    return NearestNeighbors(None, read(folder, KNeighborsClassifier))
