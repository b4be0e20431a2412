"""How candidates are grouped, so that few of their bytes are in memory."""

from collections.abc import Iterator

import pytest

from stages.common import parallel
from stages.data import candidates
from stages.data.sources import Image

WORKERS = 2


class Memory:
    """How many bytes of images are held, and how many were at most."""

    def __init__(self) -> None:
        self.held = self.peak = 0


class Data:
    """Counts as so many bytes of an image until nobody holds it."""

    def __init__(self, size: int, memory: Memory) -> None:
        self._size, self._memory = size, memory
        memory.held += size
        memory.peak = max(memory.peak, memory.held)

    def __len__(self) -> int:
        return self._size

    def __del__(self) -> None:
        self._memory.held -= self._size


def members(sizes: list[int], memory: Memory) -> Iterator[Image]:
    for number, size in enumerate(sizes):
        yield Image(f"cat/{number}.png", "cat", data=Data(size, memory))


@pytest.mark.parametrize("size", [100, 2**19, 2**22, 2**25, 2**28])
def test_images_of_an_archive_wait_for_their_turn_outside_of_memory(size: int) -> None:
    """With two cores, 32 images of any size were held."""
    memory = Memory()
    batches = candidates.batches(members([size] * 200, memory))
    results = (len(batch) for batch in parallel.mapped(list, batches, WORKERS, size=candidates.size))
    assert sum(results) == 200
    # One is being read, and one is being taken.
    assert memory.peak <= 2**28 + 2 * max(size, 2**20)
    # Both workers have some to do.
    assert memory.peak >= min(WORKERS * size, 200 * size)
