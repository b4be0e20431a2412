"""Metrics of class probabilities against labels. All are plain numbers in [0, 1] but log loss and n."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.scoring import Labels, Probabilities
from stages.scoring.calibration import reliability

DEFAULT_BINS = 15
MAX_RANK = 5


def score(labels: Labels, probabilities: Probabilities, bins: int) -> dict[str, float]:
    """Accuracy, rank-k accuracy, macro precision, recall and F1, log loss, calibration error and n.

    `labels` (N,) are class indices, `probabilities` (N, K) sum to 1. rank5_accuracy is rank-K where there
    are fewer than five classes (and then 1). Macro averages give every class the same weight; a class
    without predictions counts with precision 0. Practitioner Bundle ch. 4.
    """
    from sklearn.metrics import log_loss

    classes = np.arange(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    # float32 rows sum to one only to 1e-7, which scikit-learn warns about.
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    of_class = per_class(labels, probabilities)
    return {
        "accuracy": float((predicted == labels).mean()),
        "rank5_accuracy": rank_accuracy(labels, probabilities, MAX_RANK),
        "macro_precision": float(of_class.precision.mean()),
        "macro_recall": float(of_class.recall.mean()),
        "macro_f1": float(of_class.f1.mean()),
        "log_loss": float(log_loss(labels, exact, labels=classes)),
        "calibration_error": reliability(labels, probabilities, bins).error,
        "n": len(labels),
    }


def rank_accuracy(labels: Labels, probabilities: Probabilities, k: int) -> float:
    """The share of rows whose label is among the min(k, K) most probable classes.

    Equal probabilities stand in the order of the classes. By hand, as scikit-learn's top_k_accuracy_score
    takes two classes only as a single column of scores.
    """
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((best == labels[:, None]).any(axis=1).mean())


def interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of `n` rows, such as accuracy."""
    from scipy.stats import binomtest

    found = binomtest(round(share * n), n).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def surest_errors(labels: Labels, probabilities: Probabilities, count: int) -> list[int]:
    """Numbers of up to `count` wrongly classified rows, the most confident first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")[:count]
    return [int(row) for row in wrong[order]]


@dataclass(frozen=True)
class PerClass:
    """Of each class (K,): precision, recall, F1, and how many rows have it."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]


def per_class(labels: Labels, probabilities: Probabilities) -> PerClass:
    """Figures of each class; 0 where there is nothing to divide by."""
    from sklearn.metrics import precision_recall_fscore_support

    classes = np.arange(probabilities.shape[1])
    found = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=classes, zero_division=0
    )
    return PerClass(*found)


def confusion(labels: Labels, probabilities: Probabilities) -> NDArray[np.int64]:
    """Counts (K, K): actual classes in rows, predicted in columns."""
    from sklearn.metrics import confusion_matrix

    classes = np.arange(probabilities.shape[1])
    matrix: NDArray[np.int64] = confusion_matrix(labels, probabilities.argmax(axis=1), labels=classes)
    return matrix


def classification_report(labels: Labels, probabilities: Probabilities, classes: list[str]) -> str:
    """Precision, recall, F1 and support per class, as a table of text."""
    from sklearn.metrics import classification_report as report

    text: str = report(
        labels,
        probabilities.argmax(axis=1),
        labels=range(len(classes)),
        target_names=classes,
        digits=4,
        zero_division=0,
    )
    return text
