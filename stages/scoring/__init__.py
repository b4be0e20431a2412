"""What class probabilities are worth: metrics and calibration."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# (N,) class indices; (N, K), each row adding up to 1.
Labels = NDArray[np.int64]
Probabilities = NDArray[np.floating[Any]]
