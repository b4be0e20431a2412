"""Intervals of the difference of two accuracies, on the same images and on different ones."""

import numpy as np
from numpy.typing import NDArray


def paired(differences: NDArray[np.float64], level: float) -> tuple[float, float, float]:
    """Compare two accuracies on the same images.

    The interval is that of `matched_pairs`. A difference may also be a fraction, as that of an ensemble and
    the mean of its members.

    Args:
        differences: of each image (N,), from -1 to 1: 1 where only the first classifier is right, -1 where
            only the second is, 0 where they agree.
        level: probability that the difference is below the interval, and the same above it.

    Returns:
        The difference, its lower and its upper bound.
    """
    total, squares = float(differences.sum()), float((differences**2).sum())
    return total / len(differences), *matched_pairs(total, squares, len(differences), level)


def matched_pairs(total: float, squares: float, images: int, level: float) -> tuple[float, float]:
    """The interval of the difference of two accuracies on the same images.

    Agresti and Min's (Statistics in Medicine 24, 2005): Wald's after half an image is added to each of the
    four counts. SciPy does not have it.

    Args:
        total: the sum of the images' differences, each from -1 to 1.
        squares: the sum of their squares; of two classifiers, the number of images that one of them gets
            right.
        images: their number.
        level: probability that the difference is below the interval, and the same above it.

    Returns:
        The lower and the upper bound.
    """
    from scipy.stats import norm

    added = images + 2
    spread = float(norm.isf(level)) * (squares + 1 - total**2 / added) ** 0.5 / added
    return total / added - spread, total / added + spread


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
