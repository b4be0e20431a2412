"""Threads over a stream of items, in order and with bounded memory.

Threads and not processes: OpenCV, Pillow, hashlib and file reads release the GIL, so threads keep every
core busy without copying images between processes, and a crash in native code ends the stage instead of
leaving it waiting for a dead worker. `ThreadPoolExecutor.map` alone would read a whole source into memory.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from stages.common.limits import cores

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD_PER_WORKER = 16


def mapped(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int | None = None,
    ahead: int = _AHEAD_PER_WORKER,
) -> Iterator[Result]:
    """Yield function(item) in the order of the items; at most `ahead` results per worker wait to be taken."""
    workers = workers or cores()
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= workers * ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
