"""Classifiers that learn from batches, so that the data may be larger than the memory.

Every epoch reads the train split once, in the shuffled order that networks train in (stages/data/order.py),
in batches of 64 MiB as float32.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.common import log
from stages.common.errors import DivergedError
from stages.common.history import History, OnEpoch
from stages.common.section import Positive
from stages.data import order
from stages.data.store import Reader
from stages.models.learners import predict_all
from stages.models.learners._sklearn import (
    Classifier,
    ClassifierParams,
    fitted_normalizer,
    flat,
    labels,
    pipeline,
    warnings_in_the_log,
    width,
)
from stages.scoring.predictions import losses

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline

_BATCH_BYTES = 64 * 2**20

Rows = NDArray[np.float32]
Labels = NDArray[np.int64]


class IncrementalParams(ClassifierParams):
    """The params of learners that learn from batches.

    Attributes:
        epochs: passes over the train split.
    """

    epochs: Positive


P = TypeVar("P", bound=IncrementalParams)


class Incremental(Classifier, ABC, Generic[P]):
    """A learner around an estimator with `partial_fit`, trained epoch by epoch."""

    def __init__(self, params: P | None, model: "Pipeline | None" = None) -> None:
        super().__init__(model)
        self._params = params

    @property
    def params(self) -> P:
        """The params of `create`."""
        assert self._params is not None
        return self._params

    @abstractmethod
    def estimator(self) -> "BaseEstimator":
        """Make a new, seeded estimator."""

    def learn(self, estimator: "BaseEstimator", rows: Rows, labels: Labels, classes: Labels) -> None:
        """Learn from one batch, once."""
        estimator.partial_fit(rows, labels, classes=classes)

    def probabilities(self, estimator: "BaseEstimator", rows: Rows) -> Rows:
        """Class probabilities (N, K) of normalized rows (N, D)."""
        probabilities: Rows = estimator.predict_proba(rows)
        return probabilities

    def predict_proba(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Class probabilities (N, K) of uint8 images (N, H, W, C) or float32 features (N, D)."""
        steps = self.model.named_steps
        probabilities = self.probabilities(steps["classify"], steps["normalize"].transform(flat(rows)))
        return probabilities.astype(np.float32, copy=False)

    def fit(self, train: Reader, val: Reader, on_epoch: OnEpoch) -> History:
        """Learn from `train`, epoch by epoch; `val` is reported only.

        Returns:
            Per epoch: epoch, loss, accuracy, val_loss, val_accuracy. Losses are log losses; those of `train`
            are measured on each batch right after it is learnt.

        Raises:
            DivergedError: the numbers overflow.
        """
        history: History = {}
        with warnings_in_the_log():
            step = fitted_normalizer(self.params.normalize, train)
            self._model = pipeline(step, self.estimator())
            for epoch, sums in self.epochs(train, np.ones(len(train), np.bool_)):
                values = _means("", sums) | _means("val_", self._of_split(val))
                for name, value in {"epoch": float(epoch), **values}.items():
                    history.setdefault(name, []).append(value)
                on_epoch(epoch, values)
                shown = {name: f"{value:.4f}" for name, value in values.items()}
                log.event("finished_epoch", number=f"{epoch}/{self.params.epochs}", **shown)
        return history

    def epochs(self, train: Reader, chosen: NDArray[np.bool_]) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Train the model's estimator on the `chosen` (N,) rows; yield each epoch's number and `_sums`."""
        steps = self.model.named_steps
        classes = np.arange(len(train.provenance["classes"]))
        every = labels(train)
        for epoch in range(1, self.params.epochs + 1):
            sums = np.zeros(3)
            for numbers in self._batches(train, epoch):
                batch = numbers[chosen[numbers]]
                if not len(batch):
                    continue
                rows = steps["normalize"].transform(flat(train.take(batch)))
                try:
                    self.learn(steps["classify"], rows, every[batch], classes)
                except ValueError as error:
                    # scikit-learn's own check of the weights.
                    reason = " ".join(str(error).split())
                    raise DivergedError(f"epoch {epoch}: {reason}; see normalize") from None
                sums += _sums(self.probabilities(steps["classify"], rows), every[batch])
            yield epoch, sums

    def _batches(self, train: Reader, epoch: int) -> Iterator[NDArray[np.int64]]:
        """The numbers of all rows, shuffled by seed and epoch, as many at a time as 64 MiB hold."""
        columns = width(train)
        size = max(1, _BATCH_BYTES // (4 * columns))
        rng = np.random.default_rng([self.params.seed, epoch])
        shuffled = order.shuffled(len(train), columns * train.dtype.itemsize, rng)
        for start in range(0, len(train), size):
            for stretch in shuffled.due(start, start + size):
                train.prefetch(*stretch)
            yield shuffled.numbers[start : start + size]

    def _of_split(self, rows: Reader) -> NDArray[np.float64]:
        return _sums(predict_all(self, rows), rows.column("labels"))


def _sums(probabilities: Rows, labels: Labels) -> NDArray[np.float64]:
    """The summed log loss, the number of right answers and of all."""
    of_label = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    loss = losses(of_label).sum()
    return np.array([loss, (probabilities.argmax(axis=1) == labels).sum(), len(labels)])


def _means(prefix: str, sums: NDArray[np.float64]) -> dict[str, float]:
    loss, right, count = sums
    return {f"{prefix}loss": float(loss / count), f"{prefix}accuracy": float(right / count)}
