"""Arrays of pixels → PNG files, which every stage after ingest reads."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def png(pixels: NDArray[Any]) -> bytes:
    """A lossless PNG of uint8 pixels, (H, W), (H, W, 1) or (H, W, 3) in RGB order."""
    # Here and not above: every stage imports the sources to check the params.
    import cv2

    if pixels.ndim == 3 and pixels.shape[2] == 3:
        pixels = pixels[:, :, ::-1]
    return bytes(cv2.imencode(".png", np.ascontiguousarray(pixels))[1])
