"""The worth of class probabilities: metrics, calibration, ensemble weights, and the rules of promotion."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# (N,) class indices; (N, K), each row adding up to 1.
Labels = NDArray[np.int64]
Probabilities = NDArray[np.floating[Any]]

# The name of the average beside the members, in metrics.json and on every page.
ENSEMBLE = "ensemble"
