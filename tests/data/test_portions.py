"""Rows through a function by several threads: all of them, in order, while others are still at work."""

import threading
from typing import Any

import numpy as np
import pytest

from stages.data import portions
from stages.data.store import Reader


@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        ((9, 28, 28, 1), 256),
        ((9, 64, 64, 3), 256),
        ((9, 128, 128, 3), 64),
        ((9, 512, 512, 3), 32),
        ((9, 8), 256),
    ],
)
def test_portions_of_large_images_are_small(shape: tuple[int, ...], rows: int) -> None:
    assert portions.size(shape) == rows


def test_every_row_comes_once_and_in_order(packed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "_MIN_ROWS", 5)
    monkeypatch.setattr(portions, "_PIXELS", 1)
    with Reader(packed.packed / "train.h5") as rows:
        result = list(portions.mapped(lambda batch: batch, rows))
        assert [len(image) for image in result] == [5] * 7 + [1]
        np.testing.assert_array_equal(np.concatenate(result), rows.read(0, len(rows)))


def test_the_next_portion_is_read_while_one_is_at_work(packed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "_MIN_ROWS", 5)
    monkeypatch.setattr(portions, "_PIXELS", 1)
    monkeypatch.setattr("stages.common.parallel.cores", lambda: 2)
    second = threading.Event()
    begun: list[int] = []

    def work(batch: np.ndarray) -> int:
        begun.append(len(batch))
        if len(begun) == 1:
            assert second.wait(10)
        second.set()
        return len(batch)

    with Reader(packed.packed / "train.h5") as rows:
        assert sum(portions.mapped(work, rows)) == len(rows)
