"""Rows of a file through a function, a portion at a time, so that a device never waits for the disk."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from numpy.typing import NDArray

from stages.common import parallel
from stages.data.store import Reader

Result = TypeVar("Result")

# 224x224 images come in 32s: of MobileNetV2 on two cores, portions of 128 are a tenth slower, and VGG16 on
# 256 would hold 7 GB of activations.
_LEAST, _MOST, _PIXELS = 32, 256, 2**20
# Results that wait to be taken, per thread: they may be large.
_AHEAD = 2


def mapped(function: Callable[[NDArray[Any]], Result], rows: Reader) -> Iterator[Result]:
    """Yield function(portion) over all rows, in the file's order.

    As many threads as there are cores read and call: `function` is made for that. So the next portions are
    read and prepared while one is on the device.
    """
    count = size(rows.shape)

    def work(start: int) -> Result:
        return function(rows.read(start, start + count))

    return parallel.mapped(work, range(0, len(rows), count), ahead=_AHEAD)


def size(shape: tuple[int, ...]) -> int:
    """How many rows of a file of `shape` go together: a million pixels, or 256 rows of features."""
    pixels = shape[1] * shape[2] if len(shape) == 4 else 1
    return min(max(_PIXELS // pixels, _LEAST), _MOST)
