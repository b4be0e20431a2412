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
    """The loss of each class against the rest, the penalty on the weights, and the constant learning rate.

    Attributes:
        loss: `log_loss` is logistic regression, `hinge` a linear support vector machine; `squared_hinge`
            punishes rows far on the wrong side more (Starter Bundle ch. 8).
        penalty: `l2` is the sum of squared weights, `l1` that of absolute ones, which makes many of them 0;
            `elasticnet` is a mixture (Starter Bundle ch. 9); null: none.
        l1_ratio: the share of `l1` in `elasticnet`, 0-1; without effect elsewhere.
        alpha: strength of the penalty.
        learning_rate: of every step.
    """

    kind: Literal["sgd"]
    code: Literal["stages/models/learners/sgd.py"]
    loss: Literal["log_loss", "hinge", "squared_hinge"]
    penalty: Literal["l1", "l2", "elasticnet"] | None
    l1_ratio: Annotated[float, Field(ge=0, le=1)]
    alpha: Annotated[float, Field(ge=0)]
    learning_rate: Annotated[float, Field(gt=0)]


class Sgd(Linear[Params]):
    """scikit-learn's SGDClassifier. Unlike its `fit`, every epoch is trained, even if the loss stagnates."""

    def estimator(self) -> "BaseEstimator":
        """Make a seeded estimator; the batches come shuffled."""
        from sklearn.linear_model import SGDClassifier

        return SGDClassifier(
            loss=self.params.loss,
            penalty=self.params.penalty,
            l1_ratio=self.params.l1_ratio,
            alpha=self.params.alpha,
            learning_rate="constant",
            eta0=self.params.learning_rate,
            shuffle=False,
            random_state=self.params.seed,
            # One thread per class.
            n_jobs=-1,
        )


def create(params: Params) -> Sgd:
    """Make a learner that is not fitted yet."""
    return Sgd(params)


def load(folder: Path) -> Sgd:
    """Load a fitted learner."""
    from sklearn.linear_model import SGDClassifier

    return Sgd(None, read(folder, SGDClassifier))
