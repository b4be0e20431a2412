"""Threads over a stream: order, bounds, errors."""

import threading
from collections.abc import Iterator

import pytest

from stages.common import parallel


def test_results_come_in_the_order_of_the_items() -> None:
    first_may_end = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert first_may_end.wait(10)
        if item == 1:
            first_may_end.set()
        return item * item

    assert list(parallel.mapped(work, range(100), workers=2)) == [n * n for n in range(100)]


def test_a_stream_is_read_only_a_little_ahead() -> None:
    started = 0

    def items() -> Iterator[int]:
        nonlocal started
        for number in range(10_000):
            started += 1
            yield number

    results = parallel.mapped(str, items(), workers=2)
    assert next(results) == "0"
    assert started <= 2 * parallel.AHEAD_PER_WORKER


def test_an_error_reaches_the_caller_and_ends_the_work() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 3:
            raise ValueError("item 3")
        done.append(item)

    with pytest.raises(ValueError, match="item 3"):
        list(parallel.mapped(work, range(10_000), workers=2))
    assert len(done) < 1000


def test_no_items_give_no_results() -> None:
    assert list(parallel.mapped(str, [])) == []
