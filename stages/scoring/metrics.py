"""Metrics of class probabilities against labels. All are plain numbers in [0, 1] but log loss and n."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Probabilities = NDArray[np.floating[Any]]

DEFAULT_BINS = 15
MAX_RANK = 5


def score(labels: Labels, probabilities: Probabilities, bins: int) -> dict[str, float]:
    """Accuracy, rank-k accuracy, macro precision, recall and F1, log loss, calibration error and n.

    `labels` (N,) are class indices, `probabilities` (N, K) sum to 1. rank5_accuracy is rank-K where there
    are fewer than five classes (and then 1). Macro averages give every class the same weight; a class
    without predictions counts with precision 0. Practitioner Bundle ch. 4.
    """
    from sklearn.metrics import log_loss, precision_recall_fscore_support

    classes = np.arange(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    # float32 rows sum to one only to 1e-7, which scikit-learn warns about.
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=classes, average="macro", zero_division=0
    )
    return {
        "accuracy": float((predicted == labels).mean()),
        "rank5_accuracy": rank_accuracy(labels, probabilities, MAX_RANK),
        "macro_precision": float(precision),
        "macro_recall": float(recall),
        "macro_f1": float(f1),
        "log_loss": float(log_loss(labels, exact, labels=classes)),
        "calibration_error": calibration_error(labels, probabilities, bins),
        "n": len(labels),
    }


def rank_accuracy(labels: Labels, probabilities: Probabilities, k: int) -> float:
    """The share of rows whose label is among the min(k, K) most probable classes.

    Equal probabilities stand in the order of the classes. By hand, as scikit-learn's top_k_accuracy_score
    takes two classes only as a single column of scores.
    """
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((best == labels[:, None]).any(axis=1).mean())


def calibration_error(labels: Labels, probabilities: Probabilities, bins: int) -> float:
    """Expected calibration error: the gap between confidence and accuracy, averaged over confidence bins.

    Bins are equal in width over [0, 1] and weighted by their rows. Source: C. Guo et al., On Calibration of
    Modern Neural Networks, ICML 2017. By hand, as scikit-learn has only the curve for two classes.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    which = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(which, weights=right - confidence.astype(np.float64), minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


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
