"""The pixels themselves as features: the baseline of Starter Bundle ch. 7 and 9."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.models.protocols import Extract, ExtractorParams


class Params(ExtractorParams):
    """No settings."""

    kind: Literal["pixels"]


def prepare(params: Params, shape: tuple[int, ...]) -> Extract:
    """Flatten images uint8 (N, H, W, C) to float32 (N, H*W*C), scaled to 0-1."""

    def extract(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255)

    return extract
