"""A classifier's class probabilities on a split, and the figures that all pages and stages take from them.

`metrics.json`, the report, the comparison of runs, the promotion and the learning history use these figures,
so that one model has one accuracy and one log loss.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stages.data import store
from stages.scoring import Labels, Probabilities

# The clip of every log loss: a probability of 0 would be an infinite loss. It is scikit-learn's own bound for
# float64, so that our figures compare with published ones. A larger clip, such as 1e-7, would hide how sure a
# classifier was of a wrong class; float32's smallest number would let one image outweigh a thousand.
LEAST_PROBABILITY = float(np.finfo(np.float64).eps)
TOP = 5


@dataclass(frozen=True)
class Predictions:
    """N images: their ids (N,), labels as class indices (N,), and class probabilities (N, K).

    Rows of `probabilities` add up to 1 over the classes that the classifier knows. An image whose label the
    classifier does not know has the probability 0 there.
    """

    ids: NDArray[np.str_]
    labels: Labels
    probabilities: Probabilities

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `predict` or `ensemble` wrote.

        Args:
            path: The HDF5 file of one split.

        Returns:
            The predictions, in the order of the file.

        Raises:
            StoreError: The file is missing or damaged.
        """
        with store.Reader(path) as rows:
            return cls(rows.ids, rows.column("labels"), rows.read(0, len(rows)))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predicted(self) -> Labels:
        """The most probable class (N,); of equal probabilities the first class."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the most probable class is the label (N,)."""
        return np.asarray(self.predicted == self.labels)

    @property
    def confidence(self) -> NDArray[np.floating[Any]]:
        """The probability of the most probable class (N,), from 0 to 1."""
        return np.asarray(self.probabilities.max(axis=1))

    @property
    def of_label(self) -> NDArray[np.float64]:
        """The probability of the label (N,), from 0 to 1."""
        return self.probabilities[np.arange(len(self)), self.labels].astype(np.float64)

    @property
    def losses(self) -> NDArray[np.float64]:
        """The log loss of each image (N,), in nats; see `losses`."""
        return losses(self.of_label)

    @property
    def accuracy(self) -> float:
        """The share of images whose most probable class is the label."""
        return float(self.correct.mean())

    @property
    def log_loss(self) -> float:
        """The mean log loss, in nats."""
        return float(self.losses.mean())

    def top_accuracy(self, k: int) -> float:
        """The share of images whose label is among the min(k, K) most probable classes.

        Equal probabilities count in the order of the classes. scikit-learn's top_k_accuracy_score would take
        two classes only as one column of scores. The label's rank is counted: to sort all classes takes three
        times the memory of the probabilities.
        """
        label, classes = self.labels[:, None], np.arange(self.probabilities.shape[1])
        own = np.take_along_axis(self.probabilities, label, axis=1)
        before = (self.probabilities > own).sum(axis=1)
        before += ((self.probabilities == own) & (classes < label)).sum(axis=1)
        return float((before < k).mean())

    def recall(self) -> dict[int, float]:
        """Class index → the share of its images that are classified correctly; of classes with images."""
        correct = self.correct
        return {int(label): float(correct[self.labels == label].mean()) for label in np.unique(self.labels)}

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Predictions":
        """The predictions of some of the images, by a mask (N,) or by row numbers."""
        return Predictions(self.ids[rows], self.labels[rows], self.probabilities[rows])


def losses(of_label: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The log loss of probabilities that labels were given.

    Args:
        of_label: Probabilities of the labels, of any shape, from 0 to 1.

    Returns:
        -log of each, in nats; a probability below `LEAST_PROBABILITY` counts as that.
    """
    return np.asarray(-np.log(np.maximum(np.asarray(of_label, np.float64), LEAST_PROBABILITY)))
