"""A linear classifier by stochastic gradient descent: Starter Bundle ch. 8 (losses) and 9 (penalties)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.models.learners._incremental import IncrementalParams
from stages.models.learners._linear import Linear
from stages.models.learners._sklearn import read

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


class Params(IncrementalParams):
    """The loss, the penalty on the weights, times `alpha`, and the learning rate, which stays as it is.

    `log_loss` is logistic regression, `hinge` a linear support vector machine, each class against the rest.
    """

    kind: Literal["sgd"]
    code: Literal["stages/models/learners/sgd.py"]
    loss: Literal["log_loss", "hinge"]
    penalty: Literal["l1", "l2"] | None
    alpha: Annotated[float, Field(ge=0)]
    learning_rate: Annotated[float, Field(gt=0)]


class Sgd(Linear[Params]):
    """scikit-learn's SGDClassifier. Unlike its `fit`, no epoch is left out when the loss stands still."""

    def estimator(self) -> "BaseEstimator":
        """A new one. The batches come shuffled."""
        from sklearn.linear_model import SGDClassifier

        return SGDClassifier(
            loss=self.params.loss,
            penalty=self.params.penalty,
            alpha=self.params.alpha,
            learning_rate="constant",
            eta0=self.params.learning_rate,
            shuffle=False,
            random_state=self.params.seed,
            # One thread per class.
            n_jobs=-1,
        )


def create(params: Params) -> Sgd:
    """An unfitted learner."""
    return Sgd(params)


def load(folder: Path) -> Sgd:
    """A fitted learner."""
    return Sgd(None, read(folder))
