"""k nearest neighbours: Starter Bundle ch. 7, the baseline that learns nothing."""

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
    """How many neighbours vote, by which distance, and whether near ones count for more (1/distance)."""

    kind: Literal["knn"]
    code: Literal["stages/models/learners/knn.py"]
    neighbors: Positive
    metric: Literal["euclidean", "manhattan"]
    weights: Literal["uniform", "distance"]


class NearestNeighbors(Classifier):
    """Probabilities are shares of the vote: with one neighbour 0 or 1. Ties go to the first class.

    The book draws ties at random, which the same images would not answer the same way twice.
    The model is the train split itself, float32, in memory and on disk. Distances are brute force: trees are
    slower than that above some twenty columns.
    """

    def __init__(self, params: Params | None, model: "Pipeline | None" = None) -> None:
        super().__init__(model)
        self._params = params

    def fit(self, train: Reader, val: Reader, on_epoch: OnEpoch) -> History:
        """Keep `train`; `val` is not looked at. Raises LearnerError when `train` does not fit in memory."""
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
    """An unfitted learner."""
    return NearestNeighbors(params)


def load(folder: Path) -> NearestNeighbors:
    """A fitted learner."""
    return NearestNeighbors(None, read(folder))
