"""Moves of pixels as affine matrices, and boxes pasted from one picture into another."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stages.data import crops
from stages.data.crops import Patch, Pictures, Pixels

if TYPE_CHECKING:
    from stages.data.augment import Augment

Matrices = NDArray[np.float64]

# OpenCV's names; it is imported where it is used, because every stage reads the params.
_BORDERS = {"nearest": "REPLICATE", "reflect": "REFLECT", "wrap": "WRAP", "constant": "CONSTANT"}


def moves(params: "Augment") -> bool:
    """Whether pixels land between pixels; patches and flips alone are copied."""
    return bool(params.rotation or params.shift or params.shear or params.zoom or params.resized_crop)


def matrices(
    params: "Augment", pictures: Pictures, shape: Patch, flips: NDArray[np.bool_], rng: np.random.Generator
) -> Matrices:
    """(N, 2, 3): where in its picture each pixel (x, y) of the result comes from."""
    count, extent = len(pictures), np.array(shape[::-1], np.float64)
    angle, shear = np.deg2rad(rng.uniform(-1, 1, (2, count)) * np.array([[params.rotation], [params.shear]]))
    shift = rng.uniform(-params.shift, params.shift, (count, 2)) * extent
    zoom = rng.uniform(1 - params.zoom, 1 + params.zoom, (count, 2))
    origin, scale = _windows(params, pictures, shape, rng)
    turned = scale[:, :, None] * _linear(np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle))
    slanted = _linear(np.ones(count), -np.sin(shear), np.zeros(count), np.cos(shear))
    linear = turned @ slanted * (zoom * np.where(flips, -1, 1))[:, None, :]
    # Everything turns around the middle of the result, which lies on the middle of the window.
    middle = extent / 2 - 0.5
    offset = origin + scale * extent / 2 - 0.5 + (turned @ shift[:, :, None])[:, :, 0] - linear @ middle
    return np.concatenate([linear, offset[:, :, None]], axis=2)


def warped(pictures: Pictures, places: Matrices, shape: Patch, fill: str) -> Pixels:
    """Pictures (N, h, w, C) read at these places, bilinearly; `fill` says what lies beyond the border."""
    import cv2

    out = np.empty((len(pictures), *shape, pictures.shape[3]), np.uint8)
    flags, border, size = (
        cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        getattr(cv2, f"BORDER_{_BORDERS[fill]}"),
        shape[::-1],
    )
    for picture, place, result in zip(pictures, places, out, strict=True):
        cv2.warpAffine(picture, place, size, dst=result, flags=flags, borderMode=border)
    return out


def pasted(
    pixels: Pixels, partner: NDArray[np.int64], share: float, rng: np.random.Generator
) -> tuple[Pixels, float]:
    """Each picture with one box of its partner, and the share of its own area that is left.

    The box has the picture's proportions, the same place for the whole batch, and may be cut by the border.
    """
    extent = np.array(pixels.shape[1:3])
    half = extent * np.sqrt(1 - share) / 2
    middle = rng.integers(0, extent)
    (top, left), (bottom, right) = (np.clip(middle + sign * half, 0, extent).astype(int) for sign in (-1, 1))
    mixed = pixels.copy()
    mixed[:, top:bottom, left:right] = pixels[partner, top:bottom, left:right]
    return mixed, 1 - float((bottom - top) * (right - left) / extent.prod())


def _windows(
    params: "Augment", pictures: Pictures, shape: Patch, rng: np.random.Generator
) -> tuple[Matrices, Matrices]:
    """The top left corner (N, 2) as x, y of what is cut from each picture, and its size over the result's."""
    count = len(pictures)
    if params.resized_crop is None:
        return crops.random_corners(pictures, shape, rng)[:, ::-1].astype(np.float64), np.ones((count, 2))
    whole = np.array(pictures.shape[2:0:-1], np.float64)
    area = rng.uniform(params.resized_crop, 1, count) * whole.prod()
    # Width over height as in Szegedy et al., arXiv:1409.4842.
    aspect = np.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3), count))
    extent = np.minimum(np.sqrt(np.stack([area * aspect, area / aspect], axis=1)), whole)
    return rng.random((count, 2)) * (whole - extent), extent / np.array(shape[::-1])


def _linear(*entries: NDArray[np.float64]) -> Matrices:
    """Matrices (N, 2, 2) from their four entries, row by row."""
    return np.stack(entries, axis=1).reshape(-1, 2, 2)
