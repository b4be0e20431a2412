"""The order in which an epoch reads the rows of a file."""

import numpy as np
from numpy.typing import NDArray

# What a machine is taken to keep in its page cache. It decides the order, so it is the same on all of them.
POOL_BYTES = 4 * 2**30
BLOCK_BYTES = 4 * 2**20


def shuffled(
    rows: int,
    row_bytes: int,
    rng: np.random.Generator,
    pool_bytes: int = POOL_BYTES,
    block_bytes: int = BLOCK_BYTES,
) -> NDArray[np.int64]:
    """Every number below `rows` once, shuffled.

    In a file larger than `pool_bytes` only blocks of neighbours are shuffled, and then rows within pools of
    blocks that fit in memory together: a pool is read in stretches of `block_bytes`, not picture by picture.
    """
    if rows * row_bytes <= pool_bytes:
        return rng.permutation(rows)
    block, pool = max(1, block_bytes // row_bytes), max(1, pool_bytes // row_bytes)
    starts = rng.permutation(np.arange(0, rows, block))
    order = np.concatenate([np.arange(start, min(start + block, rows)) for start in starts])
    return np.concatenate([rng.permutation(order[at : at + pool]) for at in range(0, rows, pool)])


def balanced_order(labels: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """As many numbers as there are labels (N,), the same count of each class but for one, shuffled.

    Rows of small classes come several times, of large ones not every epoch, each as often as the others of
    its class but for once.
    """
    classes = rng.permutation(np.unique(labels))
    shares = np.full(len(classes), len(labels) // len(classes))
    shares[: len(labels) % len(classes)] += 1
    drawn = [
        np.resize(rng.permutation(np.flatnonzero(labels == label)), share)
        for label, share in zip(classes, shares, strict=True)
    ]
    return rng.permutation(np.concatenate(drawn))
