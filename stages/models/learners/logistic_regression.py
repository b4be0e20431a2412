"""Logistic regression with a grid search over C on the train split: Practitioner Bundle ch. 3."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from stages.common import log
from stages.common.errors import LearnerError
from stages.common.history import History, OnEpoch
from stages.common.section import Positive
from stages.data.store import Reader
from stages.models.learners._sklearn import (
    Classifier,
    ClassifierParams,
    blas_threads,
    labels,
    matrix,
    normalizer,
    pipeline,
    read,
    warnings_in_the_log,
    width,
)

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


class Params(ClassifierParams):
    """The grid search and the solver.

    Attributes:
        c: inverse strengths of the L2 penalty to try.
        folds: of the cross-validation.
        max_iter: the solver's iteration limit.
    """

    kind: Literal["logistic_regression"]
    code: Literal["stages/models/learners/logistic_regression.py"]
    c: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    folds: Annotated[int, Field(ge=2)]
    max_iter: Positive


class LogisticRegression(Classifier):
    """Multinomial loss, L2 penalty, solver lbfgs; C by stratified cross-validation, then a refit.

    The book took liblinear's one-vs-rest, the default of 2017; multinomial probabilities sum to one by
    themselves, which an ensemble and the log loss need. It chose C by accuracy, in which many strengths are
    equal; the log loss orders them. The whole split is in memory: `sgd` with `log_loss` does without.
    """

    def __init__(self, params: Params | None, model: "Pipeline | None" = None) -> None:
        super().__init__(model)
        self._params = params

    def fit(self, train: Reader, val: Reader, on_epoch: OnEpoch) -> History:
        """Choose C by log loss and refit on all of `train`; `val` is not used.

        Returns:
            The series `c` and `cv_log_loss`, a value for each strength tried.

        Raises:
            LearnerError: a class has fewer training images than there are folds, or the train split does not
                fit in memory.
        """
        from sklearn.linear_model import LogisticRegression as Estimator
        from sklearn.model_selection import GridSearchCV, StratifiedKFold

        assert self._params is not None
        smallest = int(np.bincount(labels(train)).min())
        if smallest < self._params.folds:
            raise LearnerError(
                f"{self._params.folds} folds need as many training images in each class; one has {smallest}"
            )
        folds = StratifiedKFold(self._params.folds, shuffle=True, random_state=self._params.seed)
        # The normalization is fitted in every fold, without the rows that the fold is judged on.
        model = pipeline(
            normalizer(self._params.normalize, width(train)),
            Estimator(solver="lbfgs", max_iter=self._params.max_iter),
        )
        search = GridSearchCV(model, {"classify__C": self._params.c}, scoring="neg_log_loss", cv=folds)
        classes = len(train.provenance["classes"])
        with warnings_in_the_log(), blas_threads(len(train) * width(train) * classes):
            search.fit(matrix(train), labels(train))
        self._model = search.best_estimator_
        log.event("chose_regularization", c=search.best_params_["classify__C"])
        return {"c": list(self._params.c), "cv_log_loss": (-search.cv_results_["mean_test_score"]).tolist()}


def create(params: Params) -> LogisticRegression:
    """Make a learner that is not fitted yet."""
    return LogisticRegression(params)


def load(folder: Path) -> LogisticRegression:
    """Load a fitted learner."""
    from sklearn.linear_model import LogisticRegression as Fitted

    return LogisticRegression(None, read(folder, Fitted))
