"""Intervals of the difference of two accuracies, on the same images and on different ones."""

import numpy as np
from numpy.typing import NDArray


def paired(differences: NDArray[np.float64], level: float) -> tuple[float, float, float]:
    """Compare two accuracies on the same images.

    For two classifiers this is the interval of Agresti and Min (Statistics in Medicine 24, 2005), as in
    `significance.of_counts`: Wald's after half an image is added to each of the four counts. Here a
    difference may also be a fraction, as that of an ensemble and the mean of its members.

    Args:
        differences: of each image (N,), from -1 to 1: 1 where only the first classifier is right, -1 where
            only the second is, 0 where they agree.
        level: probability that the difference is below the interval, and the same above it.

    Returns:
        The difference, its lower and its upper bound.
    """
    from scipy.stats import norm

    total, added = float(differences.sum()), len(differences) + 2
    spread = float(norm.isf(level)) * (float((differences**2).sum()) + 1 - total**2 / added) ** 0.5 / added
    return total / len(differences), total / added - spread, total / added + spread


def independent(
    first: float, first_images: int, second: float, second_images: int, level: float
) -> tuple[float, float, float]:
    """Compare two accuracies on different images, or where it is not known which images were right.

    The interval is Agresti and Caffo's (The American Statistician 54, 2000): Wald's after one right and one
    wrong image are added to each.

    Args:
        first: an accuracy, 0 to 1.
        first_images: the number of its images.
        second: the accuracy to compare with.
        second_images: the number of its images.
        level: probability that the difference is below the interval, and the same above it.

    Returns:
        The difference, its lower and its upper bound.
    """
    from scipy.stats import norm

    shares, variance = [], 0.0
    for accuracy, images in ((first, first_images), (second, second_images)):
        share = (accuracy * images + 1) / (images + 2)
        shares.append(share)
        variance += share * (1 - share) / (images + 2)
    spread = float(norm.isf(level)) * variance**0.5
    centre = shares[0] - shares[1]
    return first - second, centre - spread, centre + spread
