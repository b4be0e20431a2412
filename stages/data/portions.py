"""Rows of a file through a function, a portion at a time, so that a device never waits for the disk."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from numpy.typing import NDArray

from stages.common.executor import LOCAL, Executor
from stages.data.store import Reader

Result = TypeVar("Result")

# 32 images of 224x224: with MobileNetV2 on two cores, portions of 128 are a tenth slower, and VGG16 on 256
# would hold 7 GB of activations.
_MIN_ROWS, _MAX_ROWS, _PIXELS = 32, 256, 2**20
# Results that wait to be taken, per thread: they may be large.
_AHEAD = 2


def mapped(
    function: Callable[[NDArray[Any]], Result], rows: Reader, executor: Executor = LOCAL
) -> Iterator[Result]:
    """Yield function(portion) over all rows, in the file's order.

    Threads read the next portions and prepare them while a device computes one.

    Args:
        function: Called with arrays (n, …), by as many threads as there are cores.
        rows: The file.
        executor: What the function makes its calls by; it says how many threads wait for them.
    """
    count = size(rows.shape)

    def work(start: int) -> Result:
        return function(rows.read(start, start + count))

    return executor.mapped(work, range(0, len(rows), count), ahead=_AHEAD)


def size(shape: tuple[int, ...]) -> int:
    """How many rows of a file of this shape are one portion: a million pixels, or 256 rows of features."""
    pixels = shape[1] * shape[2] if len(shape) == 4 else 1
    return min(max(_PIXELS // pixels, _MIN_ROWS), _MAX_ROWS)
