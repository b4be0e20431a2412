"""The order of an epoch: every row once, in memory or in blocks; classes in equal parts."""

import numpy as np
import pytest

from stages.data.order import balanced, shuffled

# Of rows of ten bytes: blocks of twenty rows, pools of ten blocks.
BLOCKED = {"cached_bytes": 5_000, "pool_bytes": 2_000, "block_bytes": 205}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("rows", [0, 1, 7, 501, 1000, 1013])
@pytest.mark.parametrize("sizes", [{}, BLOCKED])
def test_every_row_comes_once_and_the_seed_decides_when(rows: int, sizes: dict[str, int]) -> None:
    numbers = shuffled(rows, 10, rng(), **sizes).numbers
    assert sorted(numbers.tolist()) == list(range(rows))
    np.testing.assert_array_equal(numbers, shuffled(rows, 10, rng(), **sizes).numbers)
    assert rows < 2 or numbers.tolist() != list(range(rows))


def test_a_file_larger_than_the_cache_is_shuffled_in_blocks_and_within_pools_of_them() -> None:
    numbers = shuffled(1000, 10, rng(), **BLOCKED).numbers
    for start in range(0, 1000, 200):
        pool = numbers[start : start + 200]
        assert len(set((pool // 20).tolist())) == 10
        assert len(set((pool // 200).tolist())) > 1, "a pool is one piece of the file"
        assert np.abs(np.diff(pool)).mean() > 20, "rows within a pool are not shuffled"


@pytest.mark.parametrize(("rows", "batch"), [(1000, 32), (1013, 7), (1013, 500)])
def test_what_a_batch_needs_is_begun_to_be_read_before_and_once(rows: int, batch: int) -> None:
    order = shuffled(rows, 10, rng(), **BLOCKED)
    begun: list[int] = []
    for first in range(0, rows, batch):
        begun += [row for stretch in order.due(first, first + batch) for row in range(*stretch)]
        assert set(order.numbers[first : first + batch].tolist()) <= set(begun)
        # Never more than what has been used, one pool, and two blocks cut by the batch's ends.
        assert len(begun) <= first + batch + 200 + 40
    assert sorted(begun) == list(range(rows))
    assert shuffled(rows, 10, rng()).due(0, rows) == ()


def test_classes_come_in_equal_parts_and_their_rows_evenly() -> None:
    labels = np.array([0] * 90 + [1] * 8 + [2] * 3)
    order = balanced(labels, rng()).numbers
    assert len(order) == 101
    counts = np.bincount(labels[order])
    assert sorted(counts.tolist()) == [33, 34, 34]
    for label in range(3):
        times = np.bincount(order[labels[order] == label], minlength=101)[labels == label]
        assert times.max() - times.min() <= 1
    assert len(set(labels[order[:20]].tolist())) == 3, "classes are not mixed"
