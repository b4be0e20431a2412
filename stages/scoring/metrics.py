"""Metrics of predictions. All are plain numbers in [0, 1] but log loss (nats) and n (images)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.scoring.calibration import reliability
from stages.scoring.predictions import TOP, Predictions

# What `evaluate` writes: member or ensemble → metric → value.
FILE = "metrics.json"
DEFAULT_BINS = 15


def score(predictions: Predictions, bins: int) -> dict[str, float]:
    """Compute every metric of predictions.

    Macro averages give every class that has images the same weight; a class without predictions counts with
    precision 0 (Practitioner Bundle ch. 4). A class without images is left out, as it has no recall: an
    official test split may lack classes. With fewer than five classes, top-5 accuracy is 1.

    Args:
        predictions: Of one split.
        bins: Number of confidence bins of the expected calibration error (`ece`).

    Returns:
        The name of the metric → its value, in the order in which pages show them.
    """
    of_class = per_class(predictions)
    present = of_class.support > 0
    return {
        "accuracy": predictions.accuracy,
        "top5_accuracy": predictions.top_accuracy(TOP),
        "macro_precision": float(of_class.precision[present].mean()),
        "macro_recall": float(of_class.recall[present].mean()),
        "macro_f1": float(of_class.f1[present].mean()),
        "log_loss": predictions.log_loss,
        "ece": reliability(predictions, bins).error,
        "n": len(predictions),
    }


def interval(share: float, n: int, level: float = 0.05) -> tuple[float, float]:
    """The interval of a share of images: accuracy, top-5 accuracy or a recall.

    Wilson's, on every page: it stays inside [0, 1], holds its level with few images and shares near 0 or 1,
    and needs no resampling. Source: E. Wilson, Journal of the American Statistical Association 22, 1927;
    compared in L. Brown, T. Cai, A. DasGupta, Statistical Science 16, 2001.

    Args:
        share: From 0 to 1.
        n: Number of images, above 0.
        level: One minus the confidence: 0.05 gives the 95 % interval.

    Returns:
        The lower and the upper bound.
    """
    return wilson(round(share * n) / n, n, level)


def wilson(share: float, n: float, level: float) -> tuple[float, float]:
    """Wilson's interval of a share, of a number of images that need not be whole.

    Args:
        share: From 0 to 1.
        n: Number of images, above 0.
        level: One minus the confidence: 0.05 gives the 95 % interval.

    Returns:
        The lower and the upper bound.
    """
    # The formula is binomtest's of scipy.stats, which takes 0.6 s to import.
    from scipy.special import ndtri

    z = float(ndtri(1 - level / 2))
    middle = (2 * n * share + z**2) / (2 * (n + z**2))
    half = z * math.sqrt(4 * n * share * (1 - share) + z**2) / (2 * (n + z**2))
    return (0.0 if share == 0 else middle - half), (1.0 if share == 1 else middle + half)


def surest_errors(predictions: Predictions, count: int) -> list[int]:
    """Row numbers of up to `count` wrongly classified images, the most confident first."""
    wrong = np.flatnonzero(~predictions.correct)
    order = np.argsort(-predictions.confidence[wrong], kind="stable")[:count]
    return [int(row) for row in wrong[order]]


@dataclass(frozen=True)
class PerClass:
    """Of each class (K,): precision, recall, F1, and the number of its images."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]


def per_class(predictions: Predictions) -> PerClass:
    """Compute the figures of each class; 0 where the divisor is 0.

    The same bits as scikit-learn's precision_recall_fscore_support, whose import takes 1.2 CPU seconds in
    every stage that scores.
    """
    count = predictions.probabilities.shape[1]
    hits, predicted, support = (
        np.bincount(classes, minlength=count)
        for classes in (
            predictions.labels[predictions.correct],
            predictions.predicted,
            predictions.labels,
        )
    )
    return PerClass(
        _quotients(hits, predicted),
        _quotients(hits, support),
        _quotients(2 * hits, support + predicted),
        support,
    )


def _quotients(above: NDArray[np.int64], below: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(above, below, out=np.zeros(len(above)), where=below > 0)


def confusion(predictions: Predictions) -> NDArray[np.int64]:
    """Count images (K, K): actual classes in rows, predicted classes in columns."""
    count = predictions.probabilities.shape[1]
    cells = predictions.labels * count + predictions.predicted
    return np.bincount(cells, minlength=count * count).reshape(count, count)


def classification_report(predictions: Predictions, classes: list[str]) -> str:
    """Precision, recall, F1 and support of each class, as a table of text in scikit-learn's form.

    Not by scikit-learn: it counts a class without images as 0 in the macro average, and `score` leaves it
    out.
    """
    of_class, images = per_class(predictions), len(predictions)
    figures = np.column_stack([of_class.precision, of_class.recall, of_class.f1])
    present, weights = of_class.support > 0, of_class.support / images
    rows = [*zip(classes, figures, of_class.support, strict=True)]
    averages = [("macro avg", figures[present].mean(axis=0)), ("weighted avg", weights @ figures)]
    width = max(map(len, [*classes, "weighted avg"]))
    head = " ".join([" " * width, *(f"{name:>9}" for name in ("precision", "recall", "f1-score", "support"))])
    accuracy = f"{'accuracy':>{width}} {'':>9} {'':>9} {predictions.accuracy:9.4f} {images:9}"

    def line(name: str, values: NDArray[np.float64], count: int) -> str:
        return f"{name:>{width}} " + " ".join(f"{value:9.4f}" for value in values) + f" {count:9}"

    return "\n".join(
        [
            *(head, "", *(line(*row) for row in rows), "", accuracy),
            *(line(name, values, images) for name, values in averages),
            "",
        ]
    )
