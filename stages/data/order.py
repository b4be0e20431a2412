"""The order in which an epoch reads the rows of a file."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A file up to this size is taken to stay in the page cache. It decides the order, so it is not measured.
CACHED_BYTES = 4 * 2**30
POOL_BYTES = 512 * 2**20
BLOCK_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Order:
    """The order in which rows are read.

    Attributes:
        numbers: Row numbers (N,) in that order.
        stretches: Parts (start, stop) of the file, in the order they are needed; none where all is in memory.
        lead: How many stretches are needed at any time.
    """

    numbers: NDArray[np.int64]
    stretches: tuple[tuple[int, int], ...] = ()
    lead: int = 0

    def due(self, start: int, stop: int) -> tuple[tuple[int, int], ...]:
        """The stretches to prefetch before the numbers start to stop are read, so that pools come in time."""

        def begun(place: int) -> int:
            return self.lead + math.ceil(len(self.stretches) * place / len(self.numbers)) if place else 0

        return self.stretches[begun(start) : begun(stop)]


def shuffled(
    rows: int,
    row_bytes: int,
    rng: np.random.Generator,
    cached_bytes: int = CACHED_BYTES,
    pool_bytes: int = POOL_BYTES,
    block_bytes: int = BLOCK_BYTES,
) -> Order:
    """Every number below `rows` once, in random order.

    Files larger than `cached_bytes` are shuffled in two steps: blocks of neighbours, and rows within pools of
    blocks. So a pool is read from the disk in stretches of `block_bytes` and not image by image: images
    of 64x64 come 1.7 to 3.7 times as fast from a virtual SSD.
    """
    if rows * row_bytes <= cached_bytes:
        return Order(rng.permutation(rows))
    block = max(1, block_bytes // row_bytes)
    pool = block * max(1, pool_bytes // (block * row_bytes))
    starts = rng.permutation(np.arange(0, rows, block)).tolist()
    stretches = tuple((start, min(start + block, rows)) for start in starts)
    numbers = np.concatenate([np.arange(*stretch) for stretch in stretches])
    mixed = [rng.permutation(numbers[at : at + pool]) for at in range(0, rows, pool)]
    return Order(np.concatenate(mixed), stretches, lead=pool // block)


def balanced(labels: NDArray[np.integer], rng: np.random.Generator) -> Order:
    """As many numbers as there are labels (N,), shuffled, with equal counts of each class.

    Counts of classes differ by one at most. Rows of small classes come several times, rows of large classes
    not in every epoch; within a class, counts of rows differ by one at most.
    """
    classes = rng.permutation(np.unique(labels))
    shares = np.full(len(classes), len(labels) // len(classes))
    shares[: len(labels) % len(classes)] += 1
    drawn = [
        np.resize(rng.permutation(np.flatnonzero(labels == label)), share)
        for label, share in zip(classes, shares, strict=True)
    ]
    return Order(rng.permutation(np.concatenate(drawn)))
