"""Members' weights in an ensemble, chosen on the val split, and how much the members differ there."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.scoring import Labels, Probabilities

Choice = Literal["uniform", "val_accuracy", "greedy"]
# How many members, with repetition, greedy selection adds at most.
ROUNDS = 50
# scikit-learn's own bound in its log loss: a probability of 0 would be an infinite loss.
_LEAST = float(np.finfo(np.float64).eps)


def choose(
    how: Choice, of_label: Mapping[str, NDArray[np.float64]], accuracy: Mapping[str, float]
) -> dict[str, float]:
    """A weight for each member; they add up to 1.

    Of each member on the val split, `of_label` (N,) are the probabilities of the actual classes, and
    `accuracy` is what `val_accuracy` weighs by.
    """
    if how == "greedy":
        return greedy(of_label)
    weighed = how == "val_accuracy" and any(accuracy.values())
    return relative(accuracy if weighed else dict.fromkeys(accuracy, 1.0))


def greedy(of_label: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """Add the member, one already taken or not, that gives the average the lowest log loss; 50 times.

    The average with the lowest loss on the way is taken. A member never chosen has weight 0.
    Source: R. Caruana et al., Ensemble Selection from Libraries of Models, ICML 2004. Of log loss and not of
    accuracy, which on some hundred images moves in steps that chance decides. Only the probabilities of the
    actual classes count, so the members' whole predictions need not be in memory at once.
    """
    members, each = list(of_label), np.stack(list(of_label.values()))
    taken: list[int] = []
    losses: list[float] = []
    total = np.zeros(each.shape[1])
    for count in range(1, ROUNDS + 1):
        averages = np.maximum((total + each) / count, _LEAST)
        candidates = -np.log(averages).mean(axis=1)
        best = int(candidates.argmin())
        taken.append(best)
        losses.append(float(candidates[best]))
        total += each[best]
    chosen = taken[: int(np.argmin(losses)) + 1]
    return {member: chosen.count(number) / len(chosen) for number, member in enumerate(members)}


def relative(weights: Mapping[str, float]) -> dict[str, float]:
    """The same weights on a scale on which they add up to 1."""
    total = sum(weights.values())
    return {member: weight / total for member, weight in weights.items()}


def of_label(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """The probabilities (N,) of the actual classes."""
    return probabilities[np.arange(len(labels)), labels].astype(np.float64)


def disagreement(predicted: Mapping[str, Labels]) -> dict[str, dict[str, float]]:
    """Of each pair of members, the share of images to which they give different classes, from 0 to 1."""
    return {
        one: {other: float((predicted[one] != predicted[other]).mean()) for other in predicted}
        for one in predicted
    }
