"""Cuts of one size out of larger images: random to train on, the centre or ten to predict from."""

from collections.abc import Iterator
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.data import recycled

Pixels = NDArray[np.uint8]
# What a member trained on patches sees of an image: its middle, or ten crops, half of them mirrored.
Crops = Literal["center", "ten"]
# Height and width.
Patch = tuple[int, int]


class Images(Protocol):
    """An array uint8 (N, H, W, C), or what reads its images one after the other."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> "Images": ...

    def __iter__(self) -> Iterator[Pixels]: ...


def centre(pixels: Pixels, patch: Patch) -> Pixels:
    """The middle (N, h, w, C) of images (N, H, W, C), a view. Of an odd margin, more is cut off below."""
    top, left = room(pixels, patch) // 2
    return pixels[:, top : top + patch[0], left : left + patch[1]]


def ten(pixels: Pixels, patch: Patch) -> Iterator[Pixels]:
    """Top left, top right, bottom right, bottom left and centre, then each mirrored: ten views (N, h, w, C).

    Practitioner Bundle ch. 10. There a centre of odd margin is one pixel too large and scaled down again;
    here every crop has exactly the patch's pixels.
    """
    down, right = room(pixels, patch)
    corners = [(0, 0), (0, right), (down, right), (down, 0), (down // 2, right // 2)]
    views = [pixels[:, top : top + patch[0], left : left + patch[1]] for top, left in corners]
    yield from views
    yield from (view[:, :, ::-1] for view in views)


def cut(images: Images, patch: Patch, corners: NDArray[np.int64], flips: NDArray[np.bool_]) -> Pixels:
    """Cut one patch out of each image.

    Args:
        images: uint8 (N, H, W, C).
        patch: Height and width in pixels.
        corners: Top and left (N, 2) of each patch.
        flips: Whether to mirror it (N, 2): left to right, top to bottom.

    Returns:
        uint8 (N, h, w, C).
    """
    import cv2

    out = recycled.empty((len(images), *patch, images.shape[3]))
    mirrored = np.empty(out.shape[1:], np.uint8)
    places = zip(images, corners.tolist(), flips.tolist(), out, strict=True)
    for image, (top, left), (mirror, upend), result in places:
        view = image[top : top + patch[0], left : left + patch[1]]
        if mirror or upend:
            # By way of the cache: OpenCV takes half as long again when it flips into the batch itself, and
            # copying reversed slices 60 times as long.
            cv2.flip(view, -1 if mirror and upend else int(mirror), dst=mirrored)
            view = mirrored
        result[...] = view
    return out


def random_corners(images: Images, patch: Patch, rng: np.random.Generator) -> NDArray[np.int64]:
    """Top and left (N, 2) of a patch in each image, every place equally likely."""
    return rng.integers(0, room(images, patch) + 1, (len(images), 2))


def room(images: Images, patch: Patch) -> NDArray[np.int64]:
    """How far (2,) a patch can be moved down and right."""
    return np.subtract(images.shape[1:3], patch)
