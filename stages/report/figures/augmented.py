"""A contact sheet of augmented training images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stages.data.augment import Augment, augment_batch, mix, shares
from stages.data.store import Reader

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_IMAGES, _VERSIONS = 6, 7


def sheet(rows: Reader, augment: Augment, patch: Sequence[int] | None) -> "Figure":
    """Draw up to six images, a line each: as packed, then seven times as the network may see it.

    Args:
        rows: packed images, uint8 (N, H, W, C).
        augment: the member's augmentation.
        patch: height and width in pixels of the patches that the member trains on; None for whole images.

    Returns:
        The figure. Mixed images keep the name of the class they started from.
    """
    from stages.report.figures import charts

    classes: list[str] = rows.provenance["classes"]
    numbers = np.linspace(0, len(rows) - 1, min(_IMAGES, len(rows))).astype(int)
    images, labels = rows.take(numbers), rows.column("labels")[numbers]
    size = (patch[0], patch[1]) if patch else None
    columns = [images]
    for version in range(_VERSIONS):
        rng = np.random.default_rng(version)
        changed = augment_batch(images, augment, rng, size)
        if augment.soft:
            changed, _ = mix(changed, shares(labels, len(classes)), augment, rng)
        columns.append(changed)
    return charts.contact_sheet(columns, [classes[label] for label in labels.tolist()])
