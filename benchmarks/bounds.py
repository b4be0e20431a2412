"""Upper bounds of the machine: the one call that the work cannot avoid, on all cores, and nothing else.

Images are in memory, results are dropped, and OpenCV's own threads are off, as there is a thread per core
already. These are bounds of pixels, not of files: our way also reads, checks and writes.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from stages.common.limits import cores

Pixels = NDArray[np.uint8]
Item = TypeVar("Item")


@contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """Leave the cores to the caller's threads."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def decode(files: Sequence[bytes]) -> int:
    """Bare decoding; returns the number of images."""

    def work(part: Sequence[bytes]) -> None:
        for data in part:
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

    return _on_all_cores(work, files)


def decode_and_resize(files: Sequence[bytes], size: int) -> int:
    """Bare decoding and resizing of the middle square: area when it shrinks, cubic when it grows."""

    def work(part: Sequence[bytes]) -> None:
        for data in part:
            pixels = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
            height, width = pixels.shape[:2]
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            how = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
            cv2.resize(pixels[top : top + side, left : left + side], (size, size), interpolation=how)

    return _on_all_cores(work, files)


def mapped_pixels(path: Path) -> Pixels:
    """The pixels of a packed file as a memory map at the dataset's offset."""
    with h5py.File(path) as file:
        images = file["images"]
        return np.asarray(np.memmap(path, np.uint8, "r", images.id.get_offset(), images.shape))


def gather(pixels: Pixels, size: int, batch: int) -> int:
    """One pass of random patches of size², copied into batches: no labels, no order to keep."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(pixels))
    corners = rng.integers(0, pixels.shape[1] - size + 1, (len(pixels), 2)).tolist()
    out = np.empty((batch, size, size, pixels.shape[3]), np.uint8)

    def work(part: Sequence[int]) -> None:
        for place in part:
            top, left = corners[place]
            out[place % batch] = pixels[order[place], top : top + size, left : left + size]

    return _on_all_cores(work, range(len(pixels)))


def warp(count: int, pixels: Pixels, size: int) -> int:
    """Bare `cv2.warpAffine` to size² of the same few `pixels` (N, H, W, C), which stay in the cache.

    The matrices rotate, zoom, shear and shift as far as the books' set A3: pixels beyond the border cost
    OpenCV more than pixels inside.
    """
    rng = np.random.default_rng(0)
    middle = (pixels.shape[2] / 2, pixels.shape[1] / 2)
    draws = zip(rng.uniform(-20, 20, count), rng.uniform(0.85, 1.15, count), strict=True)
    matrices = [cv2.getRotationMatrix2D(middle, angle, scale) for angle, scale in draws]
    slants, shifts = rng.uniform(-0.15, 0.15, count), rng.uniform(-0.2, 0.2, (count, 2)) * size
    for matrix, slant, shift in zip(matrices, slants, shifts, strict=True):
        matrix[:, 1] -= slant * matrix[:, 0]
        matrix[:, 2] += slant * matrix[:, 0] * middle[1] + shift
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def work(part: Sequence[int]) -> None:
        out = np.empty((size, size, pixels.shape[3]), np.uint8)
        for place in part:
            cv2.warpAffine(
                pixels[place % len(pixels)],
                matrices[place],
                (size, size),
                dst=out,
                flags=flags,
                borderMode=cv2.BORDER_REPLICATE,
            )

    return _on_all_cores(work, range(count))


def _on_all_cores(work: Callable[[Sequence[Item]], None], items: Sequence[Item]) -> int:
    workers = cores()
    with single_threaded_opencv(), ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, [items[start::workers] for start in range(workers)]))
    return len(items)
