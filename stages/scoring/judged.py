"""A member, or the ensemble, on the test split."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Judged:
    """Images' ids (N,), their actual class indices (N,), class probabilities (N, K), and the metrics."""

    ids: NDArray[np.str_]
    actual: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    scores: dict[str, float]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the most probable class (N,) is the actual one."""
        right: NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.actual
        return right
