"""The types that decoding shares with its callers."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

# (H, W, C): C is 1 for gray and 3 for RGB.
Pixels = NDArray[np.uint8]
Color = Literal["rgb", "gray"]
