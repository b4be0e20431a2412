"""Memory is used again when nothing can reach it any more, and not before."""

import numpy as np

from stages.data import recycled

# A length that no other test asks for.
SHAPE = (3, 5, 7, 11)


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_is_used_again_once_the_array_and_its_views_are_gone() -> None:
    first = recycled.empty(SHAPE)
    first[...] = 1
    place, view = address(first), first[1:].reshape(-1)[3:]
    del first
    second = recycled.empty(SHAPE)
    assert address(second) != place
    second[...] = 2
    assert (view == 1).all()
    del view
    assert address(recycled.empty(SHAPE)) == place


def test_arrays_are_ordinary_and_little_is_kept() -> None:
    arrays = [recycled.empty(SHAPE) for _ in range(20)]
    assert len({address(array) for array in arrays}) == 20
    assert all(
        array.flags.writeable and array.flags.c_contiguous and array.dtype == np.uint8 for array in arrays
    )
    assert recycled.empty((0, 4, 4, 3)).shape == (0, 4, 4, 3)
    del arrays
    assert len(recycled._free[int(np.prod(SHAPE))]) <= recycled._MOST_UNUSED
