"""Batches of packed images for `model.fit`, under any Keras backend, made ahead by threads.

A batch is a pure function of the seed, the epoch and its number, so threads may make them in any order and
on any machine. Not Keras' `workers`: their threads pause for 0.1 s at the end of every epoch
and do without tf.data's prefetch.
"""

import math
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, Self

import keras
import numpy as np
from numpy.typing import NDArray

from stages.common.limits import cores
from stages.data import crops, order
from stages.data.augment import ALL, Augment, augment_batch, mix, shares
from stages.data.crops import Patch, Pixels
from stages.data.order import Order
from stages.data.store import Reader

# Images, labels and, where there are class weights, the weight of each image.
Batch = tuple[NDArray[Any], ...]


class Share(Protocol):
    """The rows of a batch that this process computes, where several train together."""

    def rows(self, images: int) -> slice:
        """The rows of a batch of so many images."""

    def place(self, batch: Batch, images: int) -> Batch:
        """Put these rows where the backend wants them; the whole batch has so many images."""


class Loader(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Images uint8 (n, H, W, C) and labels int64 (n,), or float32 (n, K) where `soft`.

    With a seed, for training: each image once per epoch in an order by seed and epoch (or, `balanced`,
    as many of each class), with random patches and augmentation. Without: in the file's order, centre
    patches. The last batch is shorter where the number does not divide. With `class_weights` (K,), a batch
    has the weight of each image, too: that of its class, of mixed labels that of the largest share.
    With a `share`, a batch has this process's rows of the batch that one process would have, with the same
    augmentation. `with` stops the threads.
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
        class_weights: NDArray[np.float32] | None = None,
        share: Share | None = None,
        workers: int | None = None,
    ) -> None:
        super().__init__()
        self.images = len(rows)
        self.soft = soft or (augment is not None and augment.soft)
        self._rows, self._size, self._seed = rows, batch_size, seed
        self._augment, self._patch, self._balanced = augment, patch, balanced
        self._class_weights, self._share = class_weights, share
        self.labels = rows.column("labels")
        self.classes = len(rows.provenance["classes"])
        workers = workers or cores()
        self._pool = ThreadPoolExecutor(workers, "loader")
        self._ahead = workers + 1
        # By epoch and number.
        self._waiting: dict[tuple[int, int], Future[Batch]] = {}
        self._orders: dict[int, Order] = {}
        self._epoch = 0
        # Of each batch, when it was requested and when it was ready.
        self._times = [(0.0, 0.0)] * len(self)

    def __len__(self) -> int:
        return math.ceil(self.images / self._size)

    def length(self, number: int) -> int:
        """How many images the batch of this number has, over all processes."""
        return min(self._size, self.images - number * self._size)

    def __getitem__(self, number: int) -> Batch:
        started = time.monotonic()
        step = self._epoch * len(self) + number
        for ahead in range(step, step + self._ahead):
            self._submit(*divmod(ahead, len(self)))
        batch = self._waiting.pop((self._epoch, number)).result()
        self._times[number] = started, time.monotonic()
        return self._share.place(batch, self.length(number)) if self._share else batch

    def begin(self, epoch: int) -> None:
        """Go to this epoch, from 0. Its first batches are on their way if it is the next one.

        Training says it, because Keras also ends epochs that it did not train: to look at the first batches.
        """
        self._epoch = epoch if self._seed is not None else 0
        self._forget(self._epoch)

    def on_epoch_end(self) -> None:
        """Keras calls this between epochs."""
        self.begin(self._epoch + 1)

    def waited(self, finished: list[float], first: int = 0) -> float:
        """Seconds of this epoch in which training had nothing to do because a batch was not there yet.

        `finished` is when each step ended, by time.monotonic, from batch `first` on. Between loader and
        training each backend has a queue of its own: a batch that was late for the queue may still have been
        in time for its step.
        """
        idle = [0.0, *finished[:-1]]
        times = zip(self._times[first:], idle, strict=False)
        return sum(max(0.0, ready - max(started, free)) for (started, ready), free in times)

    def close(self) -> None:
        """Stop the threads; batches on their way are finished and dropped."""
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, epoch: int, number: int) -> None:
        # Without a seed, all epochs are the same.
        epoch = epoch if self._seed is not None else 0
        if (epoch, number) in self._waiting:
            return
        if epoch not in self._orders:
            self._orders[epoch] = self._ordered(epoch)
        self._waiting[epoch, number] = self._pool.submit(self._make, self._orders[epoch], epoch, number)

    def _ordered(self, epoch: int) -> Order:
        if self._seed is None:
            return Order(np.arange(self.images))
        rng = np.random.default_rng([self._seed, epoch])
        if self._balanced:
            return order.balanced(self.labels, rng)
        row_bytes = self._rows.dtype.itemsize * math.prod(self._rows.shape[1:])
        return order.shuffled(self.images, row_bytes, rng)

    def _make(self, order: Order, epoch: int, number: int) -> Batch:
        first = number * self._size
        for start, stop in order.due(first, first + self._size):
            self._rows.prefetch(start, stop)
        chosen = order.numbers[first : first + self._size]
        labels = self.labels[chosen]
        if self.soft:
            labels = shares(labels, self.classes)
        # From 1, because to a seed sequence [seed, epoch] and [seed, epoch, 0] are the same.
        rng = np.random.default_rng([self._seed or 0, epoch, number + 1])
        images = _Images(self._rows, chosen)
        part = self._share.rows(len(chosen)) if self._share else ALL
        if self._augment and self._augment.soft:
            # An image may be blended with any other of its batch: all are made, and then divided.
            mixed, labels = mix(self._pixels(images, rng, ALL), labels, self._augment, rng)
            return self._weighted(mixed[part], labels[part])
        return self._weighted(self._pixels(images, rng, part), labels[part])

    def _weighted(self, pixels: Pixels, labels: NDArray[Any]) -> Batch:
        if self._class_weights is None:
            return pixels, labels
        return pixels, labels, self._class_weights[labels.argmax(axis=1) if self.soft else labels]

    def _pixels(self, images: "_Images", rng: np.random.Generator, part: slice) -> Pixels:
        if self._augment:
            return augment_batch(images, self._augment, rng, self._patch, part)
        if not self._patch:
            return self._rows.take(images.numbers[part])
        if self._seed is None:
            corners = np.tile(crops.room(images, self._patch) // 2, (len(images), 1))
        else:
            corners = crops.random_corners(images, self._patch, rng)
        flips = np.zeros((len(images), 2), np.bool_)
        return crops.cut(images[part], self._patch, corners[part], flips[part])

    def _forget(self, before: int) -> None:
        """Drop what was prepared for epochs before this one."""
        for epoch, number in [key for key in self._waiting if key[0] < before]:
            self._waiting.pop((epoch, number)).cancel()
        self._orders = {epoch: order for epoch, order in self._orders.items() if epoch >= before}


@dataclass(frozen=True)
class _Images:
    """The images of one batch, read one after the other: half the time of first reading all of them."""

    rows: Reader
    numbers: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.numbers), *self.rows.shape[1:]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, part: slice) -> "_Images":
        return _Images(self.rows, self.numbers[part])

    def __iter__(self) -> Iterator[Pixels]:
        return self.rows.each(self.numbers)
