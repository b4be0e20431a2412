"""Ways to keep images on disk: bytes, write rate, and read rate in order and at random.

`ours` is the pipeline's store; the column `bound` holds the format named. Writing ends when the data are on
the disk and not only in the page cache; reading is from the warm page cache.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness, images
from benchmarks.formats import FORMATS, OURS, Format
from benchmarks.harness import Row, Settings

# Height and width of the images → how many.
_COUNTS = {32: 10_000, 64: 5_000, 256: 1_000}
_UNITS = {"bytes": "bytes/image", "write": "images/s", "in order": "images/s", "random": "images/s"}


def measure(settings: Settings) -> list[Row]:
    """Every format at every size; prints the plain figures as a table of their own."""
    rows: list[Row] = []
    lines: list[list[str]] = []
    for size, full in _COUNTS.items():
        pixels = np.stack([images.image(n, size, size) for n in range(settings.count(full, least=4))])
        figures = _figures(settings, pixels)
        for name, values in figures.items():
            lines.append([name, f"{size}²", *(f"{values[unit]:,.0f}" for unit in _UNITS)])
            if name != OURS:
                rows += [_row(unit, size, name, figures[OURS][unit], values[unit]) for unit in _UNITS]
    print("\n" + harness.markdown(["format", "images", *_UNITS], lines))
    return rows


def _row(unit: str, size: int, name: str, ours: float, other: float) -> Row:
    return Row(f"storage of {size}² images, {unit}, vs {name}", _UNITS[unit], ours, bound=other or None)


def _figures(settings: Settings, images: NDArray[np.uint8]) -> dict[str, dict[str, float]]:
    """Format → what → value; 0 images a second where a format cannot."""
    folder = settings.work / f"storage-{images.shape[1]}"
    folder.mkdir()
    formats = {name: make(folder / name) for name, make in FORMATS.items()}
    order = np.random.default_rng(0).permutation(len(images)).tolist()

    def each(way: Callable[[Format], int]) -> dict[str, float]:
        return harness.rates(settings.repeats, {name: partial(way, form) for name, form in formats.items()})

    write = each(lambda form: _write_durably(form, images))
    in_order, random = each(lambda form: form.read_all()), each(lambda form: form.read(order))
    return {
        name: dict(zip(_UNITS, (size, write[name], in_order[name], random[name]), strict=True))
        for name, form in formats.items()
        for size in [_bytes_on_disk(form.path) / len(images)]
    }


def _write_durably(form: Format, images: NDArray[np.uint8]) -> int:
    form.write(images)
    os.sync()
    return len(images)


def _bytes_on_disk(path: Path) -> int:
    """The size on disk in whole blocks, not the length that a listing shows."""
    return sum(512 * entry.stat().st_blocks for entry in (path, *path.rglob("*")))


if __name__ == "__main__":
    harness.main(measure)
