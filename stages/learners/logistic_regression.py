"""Logistic regression on features: Practitioner Bundle ch. 3, its grid over C on the training split."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from stages import log
from stages.data.store import Reader
from stages.errors import LearnerError
from stages.learners import History, LearnerParams, OnEpoch
from stages.section import Positive, Seed

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_FILE = "model.skops"


def _features(folder: str) -> str:
    if not folder.startswith("features/"):
        raise PydanticCustomError("input", "logistic_regression reads features/EXTRACTOR")
    return folder


class Params(LearnerParams):
    """The values of C to try, the folds of the cross-validation, and the solver's iteration limit."""

    kind: Literal["logistic_regression"]
    input: Annotated[str, AfterValidator(_features)]
    code: Literal["stages/learners/logistic_regression.py"]
    c: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    folds: Annotated[int, Field(ge=2)]
    max_iter: Positive
    seed: Seed


class LogisticRegression:
    """Standardized features, multinomial loss, solver lbfgs; C by stratified cross-validation, then a refit.

    The book took liblinear's one-vs-rest, the default of 2017; multinomial probabilities sum to one by
    themselves, which an ensemble and the log loss need.
    """

    def __init__(self, model: "Pipeline", params: Params | None) -> None:
        self._model, self._params = model, params

    def fit(self, train: Reader, val: Reader, on_epoch: OnEpoch) -> History:
        """Choose C by log loss and refit on all of `train`; `val` is not looked at.

        Raises LearnerError when a class has fewer training pictures than there are folds.
        """
        from sklearn.model_selection import GridSearchCV, StratifiedKFold

        assert self._params is not None
        labels = train.column("labels")
        smallest = int(np.bincount(labels).min())
        if smallest < self._params.folds:
            raise LearnerError(
                f"{self._params.folds} folds need as many training pictures in each class; one has {smallest}"
            )
        folds = StratifiedKFold(self._params.folds, shuffle=True, random_state=self._params.seed)
        grid = {"logisticregression__C": self._params.c}
        search = GridSearchCV(self._model, grid, scoring="neg_log_loss", cv=folds)
        search.fit(train.read(0, len(train)), labels)
        self._model = search.best_estimator_
        log.event("fitted", best_c=search.best_params_["logisticregression__C"])
        return {"c": list(self._params.c), "cv_log_loss": (-search.cv_results_["mean_test_score"]).tolist()}

    def predict_proba(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Class probabilities (N, K) of features (N, D)."""
        probabilities: NDArray[np.float32] = self._model.predict_proba(rows).astype(np.float32)
        return probabilities

    def save(self, folder: Path) -> None:
        """Write the fitted pipeline with skops: no pickle, so that loading it runs no code."""
        import skops.io

        skops.io.dump(self._model, folder / _FILE)


def create(params: Params) -> LogisticRegression:
    """An unfitted learner."""
    from sklearn.linear_model import LogisticRegression as Classifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = Classifier(solver="lbfgs", max_iter=params.max_iter)
    return LogisticRegression(make_pipeline(StandardScaler(), classifier), params)


def load(folder: Path) -> LogisticRegression:
    """A fitted learner. skops refuses any type that is not scikit-learn's or NumPy's own."""
    import skops.io

    return LogisticRegression(skops.io.load(folder / _FILE, trusted=[]), None)
