"""Which classes a classifier takes for which others, without a table of all pairs of classes."""

from dataclasses import dataclass

import numpy as np

from stages.scoring import Labels


@dataclass(frozen=True)
class Confusion:
    """Images of class `actual` that were taken for class `predicted`: class indices and their number."""

    actual: int
    predicted: int
    count: int


def commonest(actual: Labels, predicted: Labels, most: int) -> list[Confusion]:
    """List the commonest confusions, the most frequent first.

    A table of K x K counts would take 3.5 GB for 21,000 classes; this takes as much as the predictions.

    Args:
        actual: class indices (N,) of the labels.
        predicted: class indices (N,) of the most probable classes.
        most: the largest number of confusions to list.

    Returns:
        At most `most` pairs of different classes; of equally frequent pairs the lower class indices first.
    """
    wrong = actual != predicted
    pairs, counts = np.unique(np.stack([actual[wrong], predicted[wrong]], axis=1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [Confusion(int(pairs[row, 0]), int(pairs[row, 1]), int(counts[row])) for row in order]
