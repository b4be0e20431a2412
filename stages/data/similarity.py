"""Near duplicates: a perceptual hash per image, the pairs of hashes that are close, and their groups."""

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Hashes = NDArray[np.uint64]

_BITS = 64
_SIDE = 32
# In gray levels (0-255), the root mean square of what the hash looks at. A page below it is blank: the signs
# of its coefficients are rounding and noise, and would make all blank pages one group.
_FLAT = 1.0


class Pair(NamedTuple):
    """Two places in the list of hashes, `first` < `second`, and how many of the 64 bits differ."""

    first: int
    second: int
    distance: int


def perceptual_hash(image: Image.Image) -> int | None:
    """64 bits that survive another size, file format or compression; None for an image of one colour.

    Which of the 8x8 lowest frequencies of the gray image, at 32x32, exceed their median (C. Zauner,
    Implementation and Benchmarking of Perceptual Image Hash Functions, 2010). ImageHash gives such a hash
    in ten times the time: it turns the whole image gray and shrinks it with a wider filter.
    """
    small = image.resize((_SIDE, _SIDE), Image.Resampling.BOX).convert("L")
    low = cv2.dct(np.asarray(small, np.float32))[:8, :8].ravel()
    # The first is the mean brightness, which says nothing of what is in the image.
    others = low[1:]
    if np.linalg.norm(others) / _SIDE < _FLAT:
        return None
    bits = low > np.sort(others)[len(others) // 2]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def close_pairs(hashes: Hashes, distance: int) -> list[Pair]:
    """Pairs of hashes that differ in few bits, in the order of the list.

    Each of equal hashes is paired with the first of them only: a thousand copies are 999 pairs, no million.

    Args:
        hashes: uint64 (N,).
        distance: The most bits that may differ, 0 to 16.
    """
    unique, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    lower, upper = _neighbours(unique, distance)
    distances = np.bitwise_count(unique[lower] ^ unique[upper])
    ends = np.sort(np.stack([first[lower], first[upper]], axis=1), axis=1)
    pairs = [Pair(*pair) for pair in np.column_stack([ends, distances]).tolist()]
    leaders = first[inverse]
    copies = np.flatnonzero(leaders != np.arange(len(hashes)))
    pairs += [
        Pair(leader, copy, 0) for leader, copy in zip(leaders[copies].tolist(), copies.tolist(), strict=True)
    ]
    return sorted(pairs)


def groups(count: int, pairs: list[Pair]) -> NDArray[np.int64]:
    """The number of the group (N,) of each of `count` images: images that pairs connect share a group."""
    if not pairs:
        return np.arange(count)
    # SciPy takes 0.3 s to import, which only a run with pairs should pay.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.asarray([(pair.first, pair.second) for pair in pairs], np.int64).reshape(-1, 2)
    links = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def _neighbours(unique: Hashes, distance: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Multi-index hashing (Norouzi, Punjani, Fleet, 2012): exact, without a look at every pair.

    Hashes that differ in k bits are equal in at least one of k + 1 bands of bits; so within each band only
    those with equal bits are compared.
    """
    edges = np.linspace(0, _BITS, distance + 2).astype(np.uint64)
    pairs: list[NDArray[np.int64]] = [np.empty((2, 0), np.int64)]
    for low, high in pairwise(edges):
        band = (unique >> low) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(band, kind="stable")
        band = band[order]
        places = np.arange(len(order))
        for step in range(1, len(order)):
            places = places[places + step < len(order)]
            places = places[band[places] == band[places + step]]
            if not len(places):
                break
            first, second = order[places], order[places + step]
            near = np.bitwise_count(unique[first] ^ unique[second]) <= distance
            pairs.append(np.stack([first[near], second[near]]))
    both = np.unique(np.sort(np.concatenate(pairs, axis=1), axis=0), axis=1)
    return both[0], both[1]
