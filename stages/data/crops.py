"""Cuts of one size out of larger pictures: random to train on, the centre or ten to predict from."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
# Height and width.
Patch = tuple[int, int]


def centre(pixels: Pixels, patch: Patch) -> Pixels:
    """The middle (N, h, w, C) of pictures (N, H, W, C), as a view; an odd margin is larger below and right."""
    top, left = _room(pixels, patch) // 2
    return pixels[:, top : top + patch[0], left : left + patch[1]]


def ten(pixels: Pixels, patch: Patch) -> Iterator[Pixels]:
    """Top left, top right, bottom right, bottom left and centre, then each mirrored: ten views (N, h, w, C).

    Practitioner Bundle ch. 10. There a centre of odd margin is one pixel too large and scaled down again;
    here every crop has exactly the patch's pixels.
    """
    down, right = _room(pixels, patch)
    corners = [(0, 0), (0, right), (down, right), (down, 0), (down // 2, right // 2)]
    views = [pixels[:, top : top + patch[0], left : left + patch[1]] for top, left in corners]
    yield from views
    yield from (view[:, :, ::-1] for view in views)


def random(pixels: Pixels, patch: Patch, flips: NDArray[np.bool_], rng: np.random.Generator) -> Pixels:
    """One random cut of each picture, mirrored where `flips` (N, 2) says so: left to right, top to bottom."""
    out = np.empty((len(pixels), *patch, pixels.shape[3]), np.uint8)
    corners = offsets(pixels, patch, rng).tolist()
    for number, ((top, left), (mirror, upend)) in enumerate(zip(corners, flips.tolist(), strict=True)):
        view = pixels[number, top : top + patch[0], left : left + patch[1]]
        if mirror or upend:
            # NumPy's reversed slices copy pixel by pixel, ten times slower.
            cv2.flip(view, -1 if mirror and upend else int(mirror), dst=out[number])
        else:
            out[number] = view
    return out


def offsets(pixels: Pixels, patch: Patch, rng: np.random.Generator) -> NDArray[np.int64]:
    """Top and left (N, 2) of a random patch in each picture, every place equally likely."""
    return rng.integers(0, _room(pixels, patch) + 1, (len(pixels), 2))


def _room(pixels: Pixels, patch: Patch) -> NDArray[np.int64]:
    return np.subtract(pixels.shape[1:3], patch)
