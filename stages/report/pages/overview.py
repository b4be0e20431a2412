"""What the page of a run says, as plain values for index.html.j2; the page stays small for any data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.data.manifest import SPLITS, Manifest
from stages.scoring import metrics, significance
from stages.scoring.predictions import Predictions

# A matrix of 40 classes is 1,600 cells; beyond, nobody reads one, and the commonest confusions are listed.
MATRIX_CLASSES = 40
CONFUSIONS_SHOWN = 30
CLASSES_SHOWN = 200
ERRORS_SHOWN = 24
_LEVEL = 0.05
_LOWER_IS_BETTER = ("log_loss", "ece")


def data(manifest: Manifest, left_out: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Images by split, the smallest and the largest class, and why files were left out."""
    splits = Counter(manifest.strings("split").tolist())
    classes = Counter(manifest.strings("label").tolist()).most_common()
    return {
        "images": len(manifest),
        "classes": len(classes),
        "splits": {split: splits[split] for split in SPLITS},
        "largest": classes[0],
        "smallest": classes[-1],
        "left_out": Counter(one["reason"] for one in left_out),
    }


def scoreboard(scores: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """A row for each member and the ensemble: its metrics, the interval of its accuracy, where it is best."""
    best = {}
    for metric in next(iter(scores.values())):
        values = {one[metric] for one in scores.values()}
        if len(values) > 1:
            best[metric] = min(values) if metric in _LOWER_IS_BETTER else max(values)
    return [
        {
            "name": name,
            "scores": one,
            "interval": metrics.interval(one["accuracy"], int(one["n"])),
            "best": {metric for metric in best if one[metric] == best[metric]},
        }
        for name, one in scores.items()
    ]


def books(printed: Sequence[Any], scores: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Of each number of a book: ours, the difference, and whether it is within the tolerance."""
    rows = []
    for one in printed:
        ours = scores[one.of][one.metric]
        # 0.95 + 0.03 is less than 0.98 in binary fractions.
        holds = ours - one.value >= -one.tolerance - 1e-9
        rows.append({"printed": one, "ours": ours, "difference": ours - one.value, "holds": holds})
    return rows


def gains(whole: Predictions, members: Mapping[str, Predictions]) -> list[dict[str, Any]]:
    """What the ensemble gains over each member on the test split, and whether it may be chance."""
    return [
        {"name": name, "paired": significance.accuracy(whole.correct, one.correct, _LEVEL / 2)}
        for name, one in members.items()
    ]


def matrix(one: Predictions, classes: Sequence[str]) -> dict[str, Any]:
    """The confusion table: counts and shares of the actual class by cell, or the commonest confusions."""
    counts = metrics.confusion(one)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    if len(classes) <= MATRIX_CLASSES:
        rows = [
            (name, [(int(count), float(part)) for count, part in zip(row, parts, strict=True)])
            for name, row, parts in zip(classes, counts, share, strict=True)
        ]
        return {"rows": rows}
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:CONFUSIONS_SHOWN]
    places = [divmod(int(place), len(classes)) for place in order]
    return {
        "commonest": [
            {
                "actual": classes[actual],
                "predicted": classes[predicted],
                "count": int(counts[actual, predicted]),
                "share": float(share[actual, predicted]),
            }
            for actual, predicted in places
            if counts[actual, predicted]
        ]
    }


def per_class(one: Predictions, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and the commonest confusion of each class; the lowest F1 first."""
    found = metrics.per_class(one)
    confused = metrics.confusion(one)
    np.fill_diagonal(confused, 0)
    return [
        {
            "name": classes[row],
            "precision": float(found.precision[row]),
            "recall": float(found.recall[row]),
            "f1": float(found.f1[row]),
            "support": int(found.support[row]),
            "taken_for": (classes[int(confused[row].argmax())], int(confused[row].max())),
        }
        for row in np.argsort(found.f1, kind="stable").tolist()[:CLASSES_SHOWN]
    ]


def errors(one: Predictions, classes: Sequence[str], paths: Mapping[str, str]) -> list[dict[str, Any]]:
    """The errors the classifier was surest of; `paths` by id."""
    return [
        {
            "id": str(one.ids[row]),
            "path": paths[str(one.ids[row])],
            "actual": classes[one.labels[row]],
            "predicted": classes[int(one.probabilities[row].argmax())],
            "confidence": float(one.probabilities[row].max()),
            "of_actual": float(one.probabilities[row, one.labels[row]]),
        }
        for row in metrics.surest_errors(one, ERRORS_SHOWN)
    ]
