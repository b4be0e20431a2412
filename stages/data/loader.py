"""Batches of packed pictures for `model.fit`, under any Keras backend, made ahead by threads.

A batch is a pure function of the seed, the epoch and its number, so threads may make them in any order and
on any machine. Threads of our own and not Keras' `workers`, which pause for 0.1 s at the end of every epoch
and do without tf.data's prefetch.
"""

import math
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import NDArray

from stages.data import crops, order
from stages.data.augment import Augment, augment_batch, mix
from stages.data.crops import Patch, Pixels
from stages.data.order import Order
from stages.data.store import Reader
from stages.parallel import cores

Batch = tuple[Pixels, NDArray[Any]]


class Loader(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Pictures uint8 (n, H, W, C) and labels int64 (n,), or float32 (n, K) where `soft`.

    With a seed, for training: each picture once per epoch in an order by seed and epoch (or, `balanced`,
    as many of each class), with random patches and augmentation. Without: in the file's order, centre
    patches. The last batch is shorter where the number does not divide. `with` stops the threads.
    """

    def __init__(
        self,
        rows: Reader,
        batch_size: int,
        *,
        seed: int | None = None,
        augment: Augment | None = None,
        patch: Patch | None = None,
        balanced: bool = False,
        soft: bool = False,
        workers: int | None = None,
    ) -> None:
        super().__init__()
        self.pictures = len(rows)
        self.soft = soft or (augment is not None and augment.soft)
        self._rows, self._size, self._seed = rows, batch_size, seed
        self._augment, self._patch, self._balanced = augment, patch, balanced
        self._labels = rows.column("labels")
        self._classes = len(rows.provenance["classes"])
        workers = workers or cores()
        self._pool = ThreadPoolExecutor(workers, "loader")
        self._ahead = workers + 1
        self._waiting: dict[int, Future[Batch]] = {}
        self._made_at = [0.0] * len(self)
        self._epoch = 0
        self._orders = {0: self._ordered(0)}

    def __len__(self) -> int:
        return math.ceil(self.pictures / self._size)

    def length(self, number: int) -> int:
        """How many pictures the batch of this number has."""
        return min(self._size, self.pictures - number * self._size)

    def __getitem__(self, number: int) -> Batch:
        step = self._epoch * len(self) + number
        for ahead in range(step, step + self._ahead):
            if ahead not in self._waiting:
                self._waiting[ahead] = self._submit(*divmod(ahead, len(self)))
        batch = self._waiting.pop(step).result()
        self._made_at[number] = time.monotonic()
        return batch

    def on_epoch_end(self) -> None:
        """Keras calls this between epochs; the next one's first batches are on their way already."""
        self._epoch += 1
        self._forget(self._epoch * len(self))
        self._orders.pop(self._epoch - 1, None)

    def waited(self, started: float, finished: list[float]) -> float:
        """Seconds of this epoch in which training had nothing to do because a batch was not there yet.

        `started` is when the epoch began and `finished` when each of its steps ended, by time.monotonic.
        Counted from both ends, because between loader and training each backend has a queue of its own.
        """
        free = [started, *finished[:-1]]
        return sum(max(0.0, made - idle) for made, idle in zip(self._made_at, free, strict=False))

    def close(self) -> None:
        """Stop the threads; batches on their way are finished and dropped."""
        self._forget(sys.maxsize)
        self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, epoch: int, number: int) -> Future[Batch]:
        if epoch not in self._orders:
            self._orders[epoch] = self._ordered(epoch)
        return self._pool.submit(self._make, self._orders[epoch], epoch, number)

    def _ordered(self, epoch: int) -> Order:
        if self._seed is None:
            return Order(np.arange(self.pictures))
        rng = np.random.default_rng([self._seed, epoch])
        if self._balanced:
            return order.balanced(self._labels, rng)
        row_bytes = self._rows.dtype.itemsize * math.prod(self._rows.shape[1:])
        return order.shuffled(self.pictures, row_bytes, rng)

    def _make(self, order: Order, epoch: int, number: int) -> Batch:
        first = number * self._size
        for start, stop in order.due(first, first + self._size):
            self._rows.expect(start, stop)
        chosen = order.numbers[first : first + self._size]
        labels = self._labels[chosen]
        if self.soft:
            labels = np.eye(self._classes, dtype=np.float32)[labels]
        # From 1, because to a seed sequence [seed, epoch] and [seed, epoch, 0] are the same.
        rng = np.random.default_rng([self._seed or 0, epoch, number + 1])
        pixels = self._pixels(_Pictures(self._rows, chosen), rng)
        if self._augment and self._augment.soft:
            return mix(pixels, labels, self._augment, rng)
        return pixels, labels

    def _pixels(self, pictures: "_Pictures", rng: np.random.Generator) -> Pixels:
        if self._augment:
            return augment_batch(pictures, self._augment, rng, self._patch)
        if not self._patch:
            return self._rows.take(pictures.numbers)
        if self._seed is None:
            corners = np.tile(crops.room(pictures, self._patch) // 2, (len(pictures), 1))
        else:
            corners = crops.random_corners(pictures, self._patch, rng)
        return crops.cut(pictures, self._patch, corners, np.zeros((len(pictures), 2), np.bool_))

    def _forget(self, before: int) -> None:
        for step in [step for step in self._waiting if step < before]:
            self._waiting.pop(step).cancel()


@dataclass(frozen=True)
class _Pictures:
    """The pictures of one batch, read one after the other: half the time of first reading all of them."""

    rows: Reader
    numbers: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.numbers), *self.rows.shape[1:]

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Pixels]:
        return self.rows.each(self.numbers)
