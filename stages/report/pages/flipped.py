"""Images that only one of champion and challenger classifies correctly."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stages.data import decoding
from stages.data.manifest import Row
from stages.report.figures import style
from stages.scoring.served import Served

# Images of each kind on the page; the JSON beside it lists all of them.
SHOWN = 60
_SIDE = 112


@dataclass(frozen=True)
class Flip:
    """An image on which the models disagree: its path, its label, and both models' class and confidence."""

    path: str
    actual: str
    champion: str
    champion_confidence: float
    challenger: str
    challenger_confidence: float


Flips = Mapping[str, Sequence[Flip]]
NONE: Flips = {"gained": (), "lost": ()}


def between(rows: Sequence[Row], champion: Served, challenger: Served) -> Flips:
    """List the images that flipped.

    Args:
        rows: The images (N,).
        champion: What the champion says of them, in their order.
        challenger: What the challenger says of them, in their order.

    Returns:
        `gained`, which only the challenger classifies correctly, and `lost`; the image that the wrong model
        was most confident of comes first.
    """
    was, now = champion.predictions, challenger.predictions
    kinds = {"gained": (now.correct & ~was.correct, was), "lost": (~now.correct & was.correct, now)}
    names_before, names_after = champion.predicted, challenger.predicted

    def flip(place: int) -> Flip:
        return Flip(
            rows[place].path,
            rows[place].label,
            str(names_before[place]),
            float(was.confidence[place]),
            str(names_after[place]),
            float(now.confidence[place]),
        )

    flips: dict[str, list[Flip]] = {}
    for kind, (which, wrong) in kinds.items():
        places = np.flatnonzero(which)
        order = np.argsort(-wrong.confidence[places], kind="stable")
        flips[kind] = [flip(int(place)) for place in places[order]]
    return flips


def images(flips: Flips, rows: Sequence[Row], read: Callable[[Row], bytes]) -> dict[str, dict[str, object]]:
    """Draw the images that the page shows.

    Args:
        flips: What `between` lists.
        rows: The test split's images.
        read: Reads the bytes of an image.

    Returns:
        Path → `uri`, the image as a data URI, and `tiny`, whether its pixels should be visible.
    """
    shown = {flip.path for kind in flips.values() for flip in kind[:SHOWN]}
    drawn: dict[str, dict[str, object]] = {}
    for row in rows:
        if row.path in shown:
            pixels = decoding.decode(read(row), "rgb", plain=row.plain)
            tiny = max(pixels.shape) < _SIDE // 2
            drawn[row.path] = {"uri": style.image_uri(pixels, _SIDE), "tiny": tiny}
    return drawn
