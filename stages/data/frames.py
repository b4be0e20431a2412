"""Frames of films: numbered files whose neighbours look alike, and that different splits hold.

A network that trained on one frame recognizes the next one, so its test accuracy says little. Frames of a
moving camera are too different to be near duplicates. So neighbours in the numbering are compared with
images of the same series in random order: of 8,360 photographs in 21 series the two mean distances differ
by 4 % at most, in films by a third or more.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from stages.data.manifest import Row, Split

_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)$", re.DOTALL)
# With fewer images or neighbours, the mean distance varies too much.
_SERIES, _NEIGHBOURS = 20, 10
_RATIO = 0.7
_SEED = 0


class Film(NamedTuple):
    """A series of files whose neighbours look alike."""

    first: str
    images: int
    ratio: float


def films_across_splits(rows: Sequence[Row], splits: Mapping[str, Split]) -> list[Film]:
    """Find series whose neighbours in different splits look alike.

    Args:
        rows: The images with their perceptual hashes; those without a hash play no role.
        splits: SHA-256 → split.

    Returns:
        The first path of each such series, its number of images, and the mean distance of neighbours in
        different splits, divided by the mean distance of images in random order: below 0.7.
    """
    series: defaultdict[tuple[str, str, str], list[tuple[int, Row]]] = defaultdict(list)
    for row in rows:
        if row.phash is not None and (match := _NUMBERED.match(row.path)):
            series[row.label, match[1], match[3]].append((int(match[2]), row))
    films = (_film([row for _, row in sorted(members, key=_number)], splits) for members in series.values())
    return [film for film in films if film is not None]


def _number(member: tuple[int, Row]) -> int:
    return member[0]


def _film(rows: Sequence[Row], splits: Mapping[str, Split]) -> Film | None:
    if len(rows) < _SERIES:
        return None
    hashes = np.asarray([row.phash for row in rows], np.uint64)
    names = np.asarray([splits[row.sha256] for row in rows])
    crossing = names[1:] != names[:-1]
    if crossing.sum() < _NEIGHBOURS:
        return None
    distances = np.bitwise_count(hashes[1:] ^ hashes[:-1])[crossing]
    shuffled = np.random.default_rng(_SEED).permutation(hashes)
    usual = np.bitwise_count(shuffled[1:] ^ shuffled[:-1]).mean()
    ratio = float(distances.mean() / usual) if usual else 1.0
    return Film(rows[0].path, len(rows), round(ratio, 2)) if ratio < _RATIO else None
