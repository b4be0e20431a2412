"""Memory of batches, used again after a batch is dropped.

Fresh memory comes from the system page by page, zeroed: for a batch of 128 patches of 227x227 that takes
longer than copying the patches.
"""

import math
import weakref
from collections import defaultdict, deque
from functools import partial

import numpy as np
from numpy.typing import NDArray

_MOST_UNUSED = 4
# Number of bytes → unused memory of that length. Deques may be shared between threads.
_free: defaultdict[int, deque[memoryview]] = defaultdict(partial(deque, maxlen=_MOST_UNUSED))


def empty(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An uninitialized array uint8 of this shape; its memory is taken back when it and its views are gone."""
    count = math.prod(shape)
    free = _free[count]
    try:
        memory = free.pop()
    except IndexError:
        memory = np.empty(count, np.uint8).data
    # NumPy gives a view the array it is a view of as base, but only where that has no array below it: hence
    # the memoryview. So `flat` lives as long as any view of it, or tensor that shares its memory.
    flat = np.frombuffer(memory, np.uint8)
    weakref.finalize(flat, free.append, memory).atexit = False
    return flat.reshape(shape)
