"""Batches of packed pictures for `model.fit`, under any Keras backend."""

import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from stages.data.store import Reader


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Pictures uint8 (n, H, W, C) and labels (n,), each picture once per epoch, in an
    order by seed and epoch.

    Without a seed the order is the file's. The last batch is shorter where the number does not divide.
    """

    def __init__(self, rows: Reader, batch_size: int, seed: int | None = None) -> None:
        super().__init__()
        self._rows, self._size, self._seed = rows, batch_size, seed
        self._labels = rows.column("labels")
        self._epoch = 0
        self._order = self._shuffled()

    def __len__(self) -> int:
        return math.ceil(len(self._rows) / self._size)

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        chosen = self._order[number * self._size : (number + 1) * self._size]
        return self._rows.take(chosen), self._labels[chosen]

    def on_epoch_end(self) -> None:
        """Keras calls this between epochs."""
        self._epoch += 1
        self._order = self._shuffled()

    def _shuffled(self) -> NDArray[Any]:
        if self._seed is None:
            return np.arange(len(self._rows))
        return np.random.default_rng([self._seed, self._epoch]).permutation(len(self._rows))
