"""Brightness, contrast and saturation as one matrix over an image's channels; blends of two images."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stages.data.crops import Pixels

if TYPE_CHECKING:
    from stages.data.augment import Augment

# Rec. 601, as in OpenCV's conversion to grey.
_GREY = np.array([0.299, 0.587, 0.114])
_MIDDLE = 127.5


def change(pixels: Pixels, params: "Augment", rng: np.random.Generator) -> None:
    """Change the colours of images uint8 (N, H, W, C) in place, each by its own draw."""
    if not (params.brightness or params.contrast or params.saturation):
        return
    import cv2

    for image, matrix in zip(pixels, matrices(params, len(pixels), pixels.shape[3], rng), strict=True):
        cv2.transform(image, matrix, dst=image)


def matrices(params: "Augment", count: int, channels: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Matrices (N, C, C + 1): what each new channel takes of the old channels, and what is added.

    Contrast turns around mid-grey and not around the image's mean, which would cost a pass over its pixels.
    """
    ranges = np.array([params.brightness, params.contrast, params.saturation])
    brightness, contrast, saturation = 1 + rng.uniform(-1, 1, (count, 3)).T * ranges[:, None]
    colour = saturation[:, None, None] * np.eye(channels)
    grey = (1 - saturation)[:, None, None] * (_GREY if channels == 3 else np.ones(1))
    linear = (brightness * contrast)[:, None, None] * (colour + grey)
    added = np.broadcast_to((_MIDDLE * (1 - contrast))[:, None, None], (count, channels, 1))
    return np.concatenate([linear, added], axis=2)


def blend(first: Pixels, second: Pixels, share: float) -> Pixels:
    """share · first + (1 - share) · second, rounded, in one pass and without arrays of floats."""
    import cv2

    rows = len(first)
    flat = cv2.addWeighted(first.reshape(rows, -1), share, second.reshape(rows, -1), 1 - share, 0.0)
    return np.asarray(flat, np.uint8).reshape(first.shape)
