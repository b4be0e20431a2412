"""The order of an epoch: every row once, in memory or in blocks; classes in equal parts."""

import numpy as np
import pytest

from stages.data.order import balanced_order, shuffled


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("rows", [0, 1, 7, 1000])
@pytest.mark.parametrize("pool_bytes", [10**9, 2_000])
def test_every_row_comes_once_and_the_seed_decides_when(rows: int, pool_bytes: int) -> None:
    order = shuffled(rows, 10, rng(), pool_bytes, block_bytes=130)
    assert sorted(order.tolist()) == list(range(rows))
    np.testing.assert_array_equal(order, shuffled(rows, 10, rng(), pool_bytes, block_bytes=130))
    assert rows < 2 or order.tolist() != list(range(rows))


def test_a_file_larger_than_the_pool_is_read_block_by_block() -> None:
    """Pools of 200 rows of blocks of 20 come from ten places of the file; unblocked, from all fifty."""
    order = shuffled(1000, 10, rng(), pool_bytes=2_000, block_bytes=200)
    for start in range(0, 1000, 200):
        pool = order[start : start + 200]
        assert len(set((pool // 20).tolist())) == 10
        assert np.abs(np.diff(pool)).mean() > 20, "rows within a pool are not shuffled"
    assert len({tuple(sorted(set((order[at : at + 200] // 200).tolist()))) for at in range(0, 1000, 200)}) > 1


def test_classes_come_in_equal_parts_and_their_rows_evenly() -> None:
    labels = np.array([0] * 90 + [1] * 8 + [2] * 3)
    order = balanced_order(labels, rng())
    assert len(order) == 101
    counts = np.bincount(labels[order])
    assert sorted(counts.tolist()) == [33, 34, 34]
    for label in range(3):
        times = np.bincount(order[labels[order] == label], minlength=101)[labels == label]
        assert times.max() - times.min() <= 1
    assert len(set(labels[order[:20]].tolist())) == 3, "classes are not mixed"
