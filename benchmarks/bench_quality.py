"""What `resize.quality: fast` does to pixels: the difference from `exact` in gray levels of 255."""

from pathlib import Path

import numpy as np

from benchmarks import harness, images
from benchmarks.harness import Row, Settings
from stages.common.errors import ImageError
from stages.data import decoding
from stages.data.sizing import View

_SIZES = (64, 128, 256)
_AT_MOST = 300


def measure(settings: Settings) -> list[Row]:
    """The mean difference and the PSNR of the first 300 images of every set, for some target sizes."""
    return [
        row
        for name, folder in images.sets(settings).items()
        for size in _SIZES
        for row in _difference(name, sorted(folder.rglob("*.*"))[:_AT_MOST], size)
    ]


def _difference(name: str, paths: list[Path], size: int) -> list[Row]:
    means, squares = [], []
    for path in paths:
        data = path.read_bytes()
        try:
            facts = decoding.inspect(data, max_pixels=10**9, hashed=False)
        except ImageError:
            continue
        exact, fast = (
            View(size, size, "rgb", keep_aspect=True, quality=quality).apply(
                data, facts.height, facts.width, plain=facts.plain
            )
            for quality in ("exact", "fast")
        )
        difference = np.abs(exact.astype(np.float64) - fast)
        means.append(difference.mean())
        squares.append(np.square(difference).mean())
    work = f"fast beside exact, {name} images to {size}²"
    noise = max(float(np.mean(squares)), 1e-9)
    return [
        Row(f"{work}, mean difference", "levels", float(np.mean(means))),
        Row(f"{work}, PSNR", "dB", 10 * float(np.log10(255**2 / noise))),
    ]


if __name__ == "__main__":
    harness.main(measure)
