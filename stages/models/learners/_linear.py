"""Linear classifiers, whose scores are no probabilities, and the temperature that makes them some.

A score is a distance from a class' plane. Its softmax is as sure as the scale of the weights, which means
nothing, so the scores are divided by a temperature first: the one number that gives the lowest log loss on
scores of rows the model has not learnt from (temperature scaling: C. Guo et al., On Calibration of Modern
Neural Networks, ICML 2017), here those of three folds of the train split. The order of the classes, and so
the accuracy, does not change. It triples the training.

scikit-learn's CalibratedClassifierCV(method="temperature", ensemble=False) does nearly the same with the
whole split in memory. SGDClassifier's own probabilities would not do: on raw pixels several classes have
probability 1.
"""

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.common import log
from stages.common.history import History, OnEpoch
from stages.data import portions
from stages.data.store import Reader
from stages.models.learners._incremental import Incremental, IncrementalParams, Labels, Rows
from stages.models.learners._sklearn import fitted_normalizer, flat, labels, pipeline, warnings_in_the_log

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

_FOLDS = 3
# Powers of ten around the scores' own spread between which the temperature is searched.
_RANGE = (-3.0, 2.0)
# The most memory that the scores take, as float64. More rows are sampled: 1,000 classes leave 33,554 rows,
# which determine the one number to well below a percent. All 1.28 million of ImageNet would be 10 GB; a
# temporary file would bound the memory too, and cost that much disk for no gain.
_SCORE_BYTES = 256 * 2**20

P = TypeVar("P", bound=IncrementalParams)


class Linear(Incremental[P]):
    """Probabilities are the softmax of scores over a temperature, which `fit` puts into the weights."""

    _temperature = 1.0

    def fit(self, train: Reader, val: Reader, on_epoch: OnEpoch) -> History:
        """Find the temperature on folds of `train`, then learn from all of it; `val` is reported only.

        Returns:
            As `Incremental.fit`.
        """
        with warnings_in_the_log():
            self._temperature = temperature(*self._scores_of_unseen(train))
        log.event("calibrated_scores", temperature=f"{self._temperature:.4g}", folds=_FOLDS)
        history = super().fit(train, val, on_epoch)
        classifier = self.model.named_steps["classify"]
        classifier.coef_ = classifier.coef_ / self._temperature
        classifier.intercept_ = classifier.intercept_ / self._temperature
        self._temperature = 1.0
        return history

    def probabilities(self, estimator: "BaseEstimator", rows: Rows) -> Rows:
        """The softmax of the scores (N, K) over the temperature."""
        from scipy.special import softmax

        probabilities: Rows = softmax(scores(estimator, rows) / self._temperature, axis=1)
        return probabilities

    def _scores_of_unseen(self, train: Reader) -> tuple[NDArray[np.float64], Labels]:
        """Scores (n, K) by models of the other folds, of as many rows as memory allows, and labels (n,).

        The folds are drawn: rows may be in an order of their own.
        """
        drawn = np.random.default_rng(self.params.seed).permutation(len(train))
        fold_of = drawn % _FOLDS
        classes = len(train.provenance["classes"])
        sampled = np.flatnonzero(drawn < _SCORE_BYTES // (8 * classes))
        every = np.zeros((len(sampled), classes))
        step = fitted_normalizer(self.params.normalize, train)
        for fold in range(_FOLDS):
            self._model = pipeline(step, self.estimator())
            for _ in self.epochs(train, fold_of != fold):
                pass
            places = np.flatnonzero(fold_of[sampled] == fold)
            count = portions.size(train.shape)
            for start in range(0, len(places), count):
                portion = places[start : start + count]
                rows = step.transform(flat(train.take(sampled[portion])))
                every[portion] = scores(self.model.named_steps["classify"], rows)
        return every, labels(train)[sampled]


def scores(estimator: "BaseEstimator", rows: Rows) -> NDArray[np.float64]:
    """Distances (N, K) from the planes of the classes; of two classes there is but one plane."""
    distances: NDArray[np.float64] = estimator.decision_function(rows).astype(np.float64)
    return distances if distances.ndim == 2 else np.stack([-distances / 2, distances / 2], axis=1)


def temperature(scores: NDArray[np.float64], labels: Labels) -> float:
    """Find the positive number by which scores (N, K) are divided for the lowest log loss of their softmax.

    One row more counts, whose label is each of the classes in equal shares: where all rows are right, the
    loss falls with the temperature without an end, and probabilities would become 0 and 1. Platt's targets
    (Probabilistic Outputs for Support Vector Machines, 1999) do the same for two classes.

    Args:
        scores: distances (N, K).
        labels: class indices (N,).
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    spread = float(np.mean(scores.max(axis=1) - scores.min(axis=1)))
    if not spread:
        return 1.0

    def loss(power: float) -> float:
        scaled = scores / (spread * 10**power)
        log_probabilities = scaled - logsumexp(scaled, axis=1, keepdims=True)
        # Of the row more, the mean over all rows.
        return -float(log_probabilities[np.arange(len(labels)), labels].sum() + log_probabilities.mean())

    return spread * 10 ** float(minimize_scalar(loss, bounds=_RANGE, method="bounded").x)
