"""Moves of pixels as affine matrices, and boxes pasted from one image into another."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stages.data import crops, recycled
from stages.data.crops import Images, Patch, Pixels

if TYPE_CHECKING:
    from stages.data.augment import Augment

Array = NDArray[np.float64]

# OpenCV's names; it is imported where it is used, because every stage reads the params.
_BORDERS = {"nearest": "REPLICATE", "reflect": "REFLECT", "wrap": "WRAP", "constant": "CONSTANT"}


def moves(params: "Augment") -> bool:
    """Whether pixels land between pixels; patches and flips alone are copied."""
    return bool(params.rotation or params.shift or params.shear or params.zoom or params.resized_crop)


def matrices(
    params: "Augment", images: Images, shape: Patch, flips: NDArray[np.bool_], rng: np.random.Generator
) -> Array:
    """(N, 2, 3): where in its image each pixel (x, y) of the result comes from; drawn for all at once."""
    count, extent = len(images), np.array(shape[::-1], np.float64)
    limits = np.array([[params.rotation], [params.shear]])
    angle, shear = rng.uniform(-1, 1, (2, count)) * limits
    shift = rng.uniform(-params.shift, params.shift, (count, 2)) * extent
    zoom = rng.uniform(1 - params.zoom, 1 + params.zoom, (count, 2))
    origin, scale = _windows(params, images, shape, rng)
    return composed(angle, shift, shear, zoom * np.where(flips, -1, 1), origin, scale, extent)


def composed(
    angle: Array, shift: Array, shear: Array, zoom: Array, origin: Array, scale: Array, extent: Array
) -> Array:
    """(N, 2, 3) of angle and shear (N,) in degrees, shift (N, 2) in pixels, zoom (N, 2); x before y.

    Keras' order: a pixel is zoomed, sheared, shifted and turned around the middle of the result, whose size
    is `extent` (2,). The result is the window of the image from `origin` (N, 2), `scale` (N, 2) times as
    large.
    """
    turn, slant = np.deg2rad(angle), np.deg2rad(shear)
    turned = scale[:, :, None] * _linear(np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn))
    slanted = _linear(np.ones_like(slant), -np.sin(slant), np.zeros_like(slant), np.cos(slant))
    linear = turned @ slanted * zoom[:, None, :]
    middle = origin + scale * extent / 2 - 0.5
    offset = middle + (turned @ shift[:, :, None])[:, :, 0] - linear @ (extent / 2 - 0.5)
    return np.concatenate([linear, offset[:, :, None]], axis=2)


def warp(images: Images, places: Array, shape: Patch, fill: str) -> Pixels:
    """Read images (N, h, w, C) at these places, bilinearly; `fill` says what is beyond the border."""
    import cv2

    out = recycled.empty((len(images), *shape, images.shape[3]))
    border = getattr(cv2, f"BORDER_{_BORDERS[fill]}")
    options = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, "borderMode": border}
    for image, place, result in zip(images, places, out, strict=True):
        cv2.warpAffine(image, place, shape[::-1], dst=result, **options)
    return out


def deform(
    pixels: Pixels, strength: float, fill: str, rng: np.random.Generator, count: int, part: slice
) -> None:
    """Move the pixels of images (n, h, w, C) in place, each image by a smooth random field.

    They are the `part` of a batch of `count` images, for all of which is drawn.
    `strength` is the root mean square of the moves' lengths, as a share of the shorter side. The
    field is noise under a Gaussian of a seventh of that side, as wide as the paper's 4 pixels of 28.
    """
    import cv2

    height, width = pixels.shape[1:3]
    side = min(height, width)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    border = getattr(cv2, f"BORDER_{_BORDERS[fill]}")
    computed = dict(zip(range(count)[part], pixels, strict=True))
    for number in range(count):
        noise = rng.uniform(-1, 1, (height, width, 2)).astype(np.float32)
        if (image := computed.get(number)) is None:
            continue
        field = cv2.GaussianBlur(noise, (0, 0), side / 7, borderType=cv2.BORDER_REFLECT)
        field *= strength * side / np.sqrt((field**2).sum(axis=2).mean())
        moved = cv2.remap(
            image.copy(), x + field[..., 0], y + field[..., 1], cv2.INTER_LINEAR, borderMode=border
        )
        image[:] = moved.reshape(image.shape)


def paste(
    pixels: Pixels, partner: NDArray[np.int64], share: float, rng: np.random.Generator
) -> tuple[Pixels, float]:
    """Paste one box of its partner into each image; return the images and the share of their own area.

    The box has the image's proportions, the same place for the whole batch, and may be cut by the border.
    """
    extent = np.array(pixels.shape[1:3])
    half = extent * np.sqrt(1 - share) / 2
    middle = rng.integers(0, extent)
    (top, left), (bottom, right) = (np.clip(middle + sign * half, 0, extent).astype(int) for sign in (-1, 1))
    mixed = pixels.copy()
    mixed[:, top:bottom, left:right] = pixels[partner, top:bottom, left:right]
    return mixed, 1 - float((bottom - top) * (right - left) / extent.prod())


def _windows(
    params: "Augment", images: Images, shape: Patch, rng: np.random.Generator
) -> tuple[Array, Array]:
    """The top left corner (N, 2) as x, y of what is cut from each image, and its size over the result's."""
    count = len(images)
    if params.resized_crop is None:
        return crops.random_corners(images, shape, rng)[:, ::-1].astype(np.float64), np.ones((count, 2))
    full_extent = np.array(images.shape[2:0:-1], np.float64)
    area = rng.uniform(params.resized_crop, 1, count) * full_extent.prod()
    # Width over height as in Szegedy et al., arXiv:1409.4842.
    aspect = np.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3), count))
    # Where the window would be beyond the image, the aspect gives way, not the area.
    aspect = np.clip(aspect, area / full_extent[1] ** 2, full_extent[0] ** 2 / area)
    extent = np.minimum(np.sqrt(np.stack([area * aspect, area / aspect], axis=1)), full_extent)
    return rng.random((count, 2)) * (full_extent - extent), extent / np.array(shape[::-1])


def _linear(*entries: NDArray[np.float64]) -> Array:
    """Array (N, 2, 2) from their four entries, row by row."""
    return np.stack(entries, axis=1).reshape(-1, 2, 2)
