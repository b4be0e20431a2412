"""The values of a run's page, for index.html.j2; the page stays small for any data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.data.manifest import Manifest, splits_among
from stages.scoring import confusions, metrics, significance
from stages.scoring.predictions import Predictions

# A matrix of 40 classes is 1,600 cells; beyond, nobody reads one, and the commonest confusions are listed.
MATRIX_CLASSES = 40
CONFUSIONS_SHOWN = 30
CLASSES_SHOWN = 200
ERRORS_SHOWN = 24
_LEVEL = 0.05
_LOWER_IS_BETTER = ("log_loss", "ece")


def data(manifest: Manifest, rejects: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Count images by split, the smallest and the largest class, and rejects by reason."""
    splits = Counter(manifest.strings("split").tolist())
    classes = Counter(manifest.strings("label").tolist()).most_common()
    return {
        "images": len(manifest),
        "classes": len(classes),
        "splits": {split: splits[split] for split in splits_among(splits)},
        "largest": classes[0],
        "smallest": classes[-1],
        "left_out": Counter(reject["reason"] for reject in rejects),
    }


def scoreboard(scores: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """List members and the ensemble: metrics, the interval of the accuracy, and where each is best."""
    best = {}
    for metric in next(iter(scores.values())):
        values = {row[metric] for row in scores.values()}
        if len(values) > 1:
            best[metric] = min(values) if metric in _LOWER_IS_BETTER else max(values)
    return [
        {
            "name": name,
            "scores": row,
            "interval": metrics.interval(row["accuracy"], int(row["n"])),
            "best": {metric for metric in best if row[metric] == best[metric]},
        }
        for name, row in scores.items()
    ]


def books(printed: Sequence[Any], scores: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Compare each figure of a book with ours: the difference, and whether it is within the tolerance.

    `scores` are of the test split; figures of the val split are left to the reproduction table.
    """
    rows = []
    for figure in printed:
        if figure.split != "test":
            continue
        ours = scores[figure.of][figure.metric]
        # 0.95 + 0.03 is less than 0.98 in binary fractions.
        holds = ours - figure.value >= -figure.tolerance - 1e-9
        rows.append({"printed": figure, "ours": ours, "difference": ours - figure.value, "holds": holds})
    return rows


def gains(ensemble: Predictions, members: Mapping[str, Predictions]) -> list[dict[str, Any]]:
    """Compare the ensemble with each member on the test split, by a paired test."""
    return [
        {"name": name, "paired": significance.accuracy(ensemble.correct, member.correct, _LEVEL / 2)}
        for name, member in members.items()
    ]


def matrix(predictions: Predictions, classes: Sequence[str]) -> dict[str, Any]:
    """Make the confusion matrix, or above 40 classes the commonest confusions.

    Returns:
        `rows`: of each class its name, and (count, share of the actual class) of each cell; or `commonest`:
        actual and predicted class, count and share of the actual class. No table of K x K counts is made for
        the latter: 3.5 GB with 21,000 classes.
    """
    if len(classes) > MATRIX_CLASSES:
        images = np.bincount(predictions.labels, minlength=len(classes))
        pairs = confusions.commonest(predictions.labels, predictions.predicted, CONFUSIONS_SHOWN)
        return {
            "commonest": [
                {
                    "actual": classes[pair.actual],
                    "predicted": classes[pair.predicted],
                    "count": pair.count,
                    "share": pair.count / int(images[pair.actual]),
                }
                for pair in pairs
            ]
        }
    counts = metrics.confusion(predictions)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [
        (name, [(int(count), float(share)) for count, share in zip(row, parts, strict=True)])
        for name, row, parts in zip(classes, counts, shares, strict=True)
    ]
    return {"rows": rows}


def per_class(predictions: Predictions, classes: Sequence[str]) -> list[dict[str, Any]]:
    """List precision, recall, F1 and the commonest confusion of up to 200 classes, the lowest F1 first.

    A class without images is left out, as in the macro averages: its F1 of 0 says nothing of the member.
    """
    figures = metrics.per_class(predictions)
    rows = np.argsort(figures.f1, kind="stable")
    present = rows[figures.support[rows] > 0]
    return [
        {
            "name": classes[row],
            "precision": float(figures.precision[row]),
            "recall": float(figures.recall[row]),
            "f1": float(figures.f1[row]),
            "support": int(figures.support[row]),
            "taken_for": _taken_for(predictions, row, classes),
        }
        for row in present.tolist()[:CLASSES_SHOWN]
    ]


def _taken_for(predictions: Predictions, row: int, classes: Sequence[str]) -> tuple[str, int]:
    """The class that images of class `row` are most often taken for, and their number; 0 without errors."""
    wrong = predictions.predicted[(predictions.labels == row) & ~predictions.correct]
    counts = np.bincount(wrong, minlength=len(classes))
    return classes[int(counts.argmax())], int(counts.max())


def errors(
    predictions: Predictions, classes: Sequence[str], paths: Mapping[str, str]
) -> list[dict[str, Any]]:
    """List the most confident errors; `paths` by id."""
    return [
        {
            "id": str(predictions.ids[row]),
            "path": paths[str(predictions.ids[row])],
            "actual": classes[predictions.labels[row]],
            "predicted": classes[int(predictions.probabilities[row].argmax())],
            "confidence": float(predictions.probabilities[row].max()),
            "of_actual": float(predictions.probabilities[row, predictions.labels[row]]),
        }
        for row in metrics.surest_errors(predictions, ERRORS_SHOWN)
    ]
