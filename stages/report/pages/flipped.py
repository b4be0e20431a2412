"""What flipped: the images that only one of champion and candidate gets right."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stages.data import decoding
from stages.data.manifest import Row
from stages.report.figures import style
from stages.serving.answers import Answers

# Shown of each kind on the page; the JSON beside it lists all of them.
SHOWN = 60
_SIDE = 112


@dataclass(frozen=True)
class Flip:
    """One such image: its path, its actual class, and what either model says of it, and how surely."""

    path: str
    actual: str
    champion: str
    champion_confidence: float
    candidate: str
    candidate_confidence: float


Flips = Mapping[str, Sequence[Flip]]
NONE: Flips = {"gained": (), "lost": ()}


def between(rows: Sequence[Row], champion: Answers, candidate: Answers) -> Flips:
    """`gained` by the candidate and `lost`, those first that the wrong one of the two was most sure of."""
    which = {
        "gained": (candidate.right & ~champion.right, champion),
        "lost": (~candidate.right & champion.right, candidate),
    }

    def flip(place: int) -> Flip:
        return Flip(
            rows[place].path,
            rows[place].label,
            str(champion.predicted[place]),
            float(champion.confidence[place]),
            str(candidate.predicted[place]),
            float(candidate.confidence[place]),
        )

    found: dict[str, list[Flip]] = {}
    for kind, (flipped, wrong) in which.items():
        places = np.flatnonzero(flipped)
        order = np.argsort(-wrong.confidence[places], kind="stable")
        found[kind] = [flip(int(place)) for place in places[order]]
    return found


def images(flips: Flips, rows: Sequence[Row], read: Callable[[Row], bytes]) -> dict[str, dict[str, object]]:
    """Path → data URI, and whether the image is so small that its pixels should be seen; of those shown."""
    shown = {flip.path for kind in flips.values() for flip in kind[:SHOWN]}
    found: dict[str, dict[str, object]] = {}
    for row in rows:
        if row.path in shown:
            pixels = decoding.decode(read(row), "rgb", plain=row.plain)
            tiny = max(pixels.shape) < _SIDE // 2
            found[row.path] = {"uri": style.image_uri(pixels, _SIDE), "tiny": tiny}
    return found
