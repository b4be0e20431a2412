"""A contact sheet of what augmentation makes of training images."""

from typing import TYPE_CHECKING

import numpy as np

from stages.data.augment import augment_batch, mix
from stages.data.store import Reader
from stages.models.protocols import LearnerParams

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_IMAGES, _VERSIONS = 6, 7


def sheet(params: LearnerParams, rows: Reader) -> "Figure | None":
    """Up to six images of `rows`, a line each: as packed, then seven times as the network may see it.

    None for a member that does not augment. Mixed images keep the name of the class they started from.
    """
    augment, patch = getattr(params, "augment", None), getattr(params, "patch", None)
    if augment is None:
        return None
    from stages.report.figures import charts

    classes: list[str] = rows.provenance["classes"]
    numbers = np.linspace(0, len(rows) - 1, min(_IMAGES, len(rows))).astype(int)
    images, labels = rows.take(numbers), rows.column("labels")[numbers]
    columns = [images]
    for version in range(_VERSIONS):
        rng = np.random.default_rng(version)
        changed = augment_batch(images, augment, rng, patch)
        if augment.soft:
            changed, _ = mix(changed, np.eye(len(classes), dtype=np.float32)[labels], augment, rng)
        columns.append(changed)
    return charts.contact_sheet(columns, [classes[label] for label in labels.tolist()])
