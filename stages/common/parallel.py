"""Threads over a stream of items, in order and with bounded memory.

Threads and not processes: OpenCV, Pillow, hashlib and file reads release the GIL, so threads keep every
core busy without copying images between processes, and a crash in native code ends the stage instead of
leaving it to wait for a dead worker. `ThreadPoolExecutor.map` alone would read a whole source into memory.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from stages.common.limits import cores

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD_PER_WORKER = 16
_BYTES_PER_WORKER = 2**27


def mapped(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int | None = None,
    ahead: int = AHEAD_PER_WORKER,
    size: Callable[[Item], int] = lambda _: 0,
) -> Iterator[Result]:
    """Apply a function to a stream of items in threads.

    Args:
        function: Called with each item. An exception ends the stream and reaches the caller.
        items: Read a little ahead of the results only.
        workers: The number of threads; by default one per core.
        ahead: How many results per worker may wait to be taken.
        size: How many bytes an item and its result hold in memory; those that wait hold 128 MiB per worker.

    Yields:
        The results, in the order of the items.
    """
    workers = workers or cores()
    pending: deque[tuple[Future[Result], int]] = deque()
    held = 0
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                pending.append((pool.submit(function, item), size(item)))
                held += pending[-1][1]
                while pending and (len(pending) >= workers * ahead or held > workers * _BYTES_PER_WORKER):
                    future, freed = pending.popleft()
                    held -= freed
                    yield future.result()
            while pending:
                yield pending.popleft()[0].result()
        finally:
            for future, _ in pending:
                future.cancel()
