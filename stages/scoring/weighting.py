"""The weights of an ensemble's members, chosen on the val split, and how often the members disagree there."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.scoring import Labels
from stages.scoring.predictions import losses

# What `ensemble` writes beside its predictions: weights, and scores on the val split.
FILE = "ensemble.json"

Choice = Literal["uniform", "val_accuracy", "greedy"]
# How many members, with repetition, greedy selection adds at most.
ROUNDS = 50


def choose(
    how: Choice, of_label: Mapping[str, NDArray[np.float64]], accuracy: Mapping[str, float]
) -> dict[str, float]:
    """Choose a weight for each member.

    Args:
        how: `uniform`, `val_accuracy` (in proportion to accuracy) or `greedy`; see `greedy`.
        of_label: Member → the probabilities (N,) of the labels on the val split.
        accuracy: Member → its accuracy on the val split.

    Returns:
        Member → weight; the weights add up to 1.
    """
    if how == "greedy":
        return greedy(of_label)
    by_accuracy = how == "val_accuracy" and any(accuracy.values())
    return relative(accuracy if by_accuracy else dict.fromkeys(accuracy, 1.0))


def greedy(of_label: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """Select members one by one, with repetition, by the log loss of their average.

    Each of 50 rounds adds the member that gives the average the lowest log loss. The average of the round
    with the lowest loss counts. Source: R. Caruana et al., Ensemble Selection from Libraries of Models, ICML
    2004. The criterion is log loss and not accuracy, which moves in steps that chance decides on some hundred
    images. Log loss needs only the probabilities of the labels, so memory need not hold the members' whole
    predictions.

    Args:
        of_label: Member → the probabilities (N,) of the labels on the val split.

    Returns:
        Member → weight; the weights add up to 1. A member that was never selected has weight 0.
    """
    members, each = list(of_label), np.stack(list(of_label.values()))
    selected: list[int] = []
    loss_after: list[float] = []
    total = np.zeros(each.shape[1])
    for count in range(1, ROUNDS + 1):
        mean_losses = losses((total + each) / count).mean(axis=1)
        best = int(mean_losses.argmin())
        selected.append(best)
        loss_after.append(float(mean_losses[best]))
        total += each[best]
    chosen = selected[: int(np.argmin(loss_after)) + 1]
    return {member: chosen.count(number) / len(chosen) for number, member in enumerate(members)}


def relative(weights: Mapping[str, float]) -> dict[str, float]:
    """Scale weights so that they add up to 1."""
    total = sum(weights.values())
    return {member: weight / total for member, weight in weights.items()}


def disagreement(predicted: Mapping[str, Labels]) -> dict[str, dict[str, float]]:
    """The share of images, from 0 to 1, to which two members give different classes, for each pair."""
    return {
        member: {other: float((predicted[member] != predicted[other]).mean()) for other in predicted}
        for member in predicted
    }
