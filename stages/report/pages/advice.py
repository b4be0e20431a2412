"""Warnings about a set of images before anything is trained on it, and what to do about them."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.data.manifest import ENOUGH_PER_CLASS

_IMBALANCE = 3.0
# Gray levels; variance of the Laplacian at 128 pixels; pixels of the shorter side.
_DARK, _BLURRED, _TINY = 40.0, 30.0, 32.0
# A few odd images are normal.
_SHARE = 0.01


def advice(classes: Mapping[str, int], figures: Mapping[str, NDArray[np.float64]]) -> list[tuple[str, str]]:
    """List findings about a set of images, each with what to do.

    Args:
        classes: label → number of images.
        figures: name → one value per image, as stages.data.profile measures them.

    Returns:
        Pairs of finding and advice.
    """
    findings: list[tuple[str, str]] = []
    few = [label for label, count in classes.items() if count < ENOUGH_PER_CLASS]
    if few:
        findings.append(
            (
                f"{len(few)} of {len(classes)} classes have fewer than {ENOUGH_PER_CLASS:,} images: "
                f"{_named(few)}.",
                "Collect more, augment (conf/augment), or use features of a pretrained network.",
            )
        )
    ratio = max(classes.values()) / min(classes.values())
    if ratio > _IMBALANCE:
        findings.append(
            (
                f"The largest class has {ratio:.1f} times the images of the smallest.",
                "Set train.balanced: true for the networks, or collect more of the small classes.",
            )
        )
    shorter = np.minimum(figures["width"], figures["height"])
    checks = (
        ("dark", figures["brightness"] < _DARK, "Look at their exposure; remove what a person cannot see."),
        (
            "blurred",
            figures["sharpness"] < _BLURRED,
            "Remove them, unless such images will be predicted too.",
        ),
        (
            "tiny",
            shorter < _TINY,
            "Enlarging adds no detail: find larger originals or choose a smaller resize.size.",
        ),
    )
    for name, hit, advice in checks:
        if hit.mean() > _SHARE:
            number = "1 image" if hit.sum() == 1 else f"{hit.sum():,} images"
            verb = "is" if hit.sum() == 1 else "are"
            findings.append((f"{number} ({hit.mean():.0%}) {verb} {name}.", advice))
    return findings


def _named(labels: Sequence[str]) -> str:
    return ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
