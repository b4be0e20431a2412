"""A multilayer perceptron without Keras: Starter Bundle ch. 10. The network `mlp` is for GPUs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.common.section import Positive
from stages.models.learners._incremental import Incremental, IncrementalParams, Labels, Rows
from stages.models.learners._sklearn import blas_threads, read

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


class Params(IncrementalParams):
    """Layers and optimizer.

    Attributes:
        hidden: widths of the hidden layers.
        activation: behind each hidden layer.
        optimizer: the algorithm of the steps.
        learning_rate: of all steps.
        momentum: Nesterov's, of sgd; adam ignores it.
        batch_size: images per step.
        alpha: strength of the L2 penalty.
    """

    kind: Literal["mlp"]
    code: Literal["stages/models/learners/mlp.py"]
    hidden: Annotated[list[Positive], Field(min_length=1)]
    activation: Literal["relu", "tanh", "logistic"]
    optimizer: Literal["sgd", "adam"]
    learning_rate: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    batch_size: Positive
    alpha: Annotated[float, Field(ge=0)]


class Mlp(Incremental[Params]):
    """scikit-learn's MLPClassifier: fully connected layers, softmax, cross-entropy."""

    def estimator(self) -> "BaseEstimator":
        """Make a seeded estimator."""
        from sklearn.neural_network import MLPClassifier

        return MLPClassifier(
            hidden_layer_sizes=tuple(self.params.hidden),
            activation=self.params.activation,
            solver=self.params.optimizer,
            learning_rate_init=self.params.learning_rate,
            momentum=self.params.momentum,
            alpha=self.params.alpha,
            random_state=self.params.seed,
        )

    def learn(self, estimator: "BaseEstimator", rows: Rows, labels: Labels, classes: Labels) -> None:
        """One pass in mini-batches. scikit-learn warns every epoch of batches larger than the rows."""
        size = min(self.params.batch_size, len(rows))
        estimator.set_params(batch_size=size)
        with blas_threads(size * rows.shape[1] * self.params.hidden[0]):
            super().learn(estimator, rows, labels, classes)

    def save(self, folder: Path) -> None:
        """Write the fitted pipeline without its optimizer, which skops does not trust."""
        vars(self.model.named_steps["classify"]).pop("_optimizer", None)
        super().save(folder)


def create(params: Params) -> Mlp:
    """Make a learner that is not fitted yet."""
    return Mlp(params)


def load(folder: Path) -> Mlp:
    """Load a fitted learner."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import LabelBinarizer

    return Mlp(None, read(folder, MLPClassifier, LabelBinarizer))
