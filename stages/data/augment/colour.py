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
# The components of ImageNet's RGB values in 0-1, a column each, times their variances: those that
# fb.resnet.torch publishes (Krizhevsky et al. 2012 print none).
_COMPONENTS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
_COMPONENTS *= np.array([0.2175, 0.0188, 0.0045])


def change(pixels: Pixels, params: "Augment", rng: np.random.Generator, count: int, part: slice) -> None:
    """Change the colours of images uint8 (n, H, W, C) in place, each by its own draw.

    They are the `part` of a batch of `count` images, for all of which is drawn.
    """
    if not (params.brightness or params.contrast or params.saturation or params.pca_colour):
        return
    import cv2

    drawn = matrices(params, count, pixels.shape[3], rng)
    for image, matrix in zip(pixels, drawn[part], strict=True):
        cv2.transform(image, matrix, dst=image)


def matrices(params: "Augment", count: int, channels: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Matrices (N, C, C + 1): what each new channel takes of the old channels, and what is added.

    Contrast turns around mid-grey and not around the image's mean, which would cost a pass over its pixels.
    Grey images have no colours to shift.
    """
    ranges = np.array([params.brightness, params.contrast, params.saturation])
    brightness, contrast, saturation = 1 + rng.uniform(-1, 1, (count, 3)).T * ranges[:, None]
    colour = saturation[:, None, None] * np.eye(channels)
    grey = (1 - saturation)[:, None, None] * (_GREY if channels == 3 else np.ones(1))
    linear = (brightness * contrast)[:, None, None] * (colour + grey)
    added = np.repeat((_MIDDLE * (1 - contrast))[:, None, None], channels, axis=1)
    if params.pca_colour and channels == 3:
        shares = rng.normal(0, params.pca_colour, (count, 3))
        added[:, :, 0] += 255 * shares @ _COMPONENTS.T
    return np.concatenate([linear, added], axis=2)


def blend(first: Pixels, second: Pixels, share: float) -> Pixels:
    """share · first + (1 - share) · second, rounded, in one pass and without arrays of floats."""
    import cv2

    rows = len(first)
    flat = cv2.addWeighted(first.reshape(rows, -1), share, second.reshape(rows, -1), 1 - share, 0.0)
    return np.asarray(flat, np.uint8).reshape(first.shape)
