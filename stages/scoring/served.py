"""What a served model says of images, and what it costs, in terms in which two models can be compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from stages.scoring import metrics
from stages.scoring.predictions import Predictions


@dataclass(frozen=True)
class Served:
    """A model's predictions, the class names of their columns, its timings, and its size.

    `latencies` are milliseconds from an image's bytes to its label, one per timed image; `model_bytes` is the
    size of all files of the model.
    """

    predictions: Predictions
    classes: list[str]
    latencies: tuple[float, ...]
    model_bytes: int

    @property
    def latency_ms(self) -> float:
        """The median latency of one image, in milliseconds."""
        return median(self.latencies)

    @property
    def predicted(self) -> NDArray[np.str_]:
        """The name of the most probable class of each image (N,)."""
        return np.asarray(self.classes)[self.predictions.predicted]

    def recall(self) -> dict[str, float]:
        """Class name → the share of its images that are classified correctly."""
        return {self.classes[label]: share for label, share in self.predictions.recall().items()}

    def figures(self) -> dict[str, float | tuple[float, float]]:
        """The figures of the verdict: accuracy with its interval, log loss, latency and size."""
        accuracy = self.predictions.accuracy
        return {
            "accuracy": accuracy,
            "accuracy_interval": metrics.interval(accuracy, len(self.predictions)),
            "log_loss": self.predictions.log_loss,
            "latency_ms": round(self.latency_ms, 3),
            "model_bytes": self.model_bytes,
        }


def aligned(
    ids: NDArray[np.str_], labels: Sequence[str], classes: Sequence[str], probabilities: NDArray[np.float64]
) -> tuple[Predictions, list[str]]:
    """Match a model's classes with labels by name: the model may know other classes than there are now.

    Args:
        ids: The images' ids (N,).
        labels: The images' class names (N,).
        classes: The class names that the model knows (K,).
        probabilities: What the model says (N, K).

    Returns:
        The predictions, and the class names of their columns: the model's classes, then the labels that the
        model does not know, each with probability 0.
    """
    unknown = sorted(set(labels) - set(classes))
    names = [*classes, *unknown]
    index = {name: number for number, name in enumerate(names)}
    columns = np.hstack([probabilities, np.zeros((len(probabilities), len(unknown)))])
    return Predictions(ids, np.asarray([index[label] for label in labels], np.int64), columns), names
