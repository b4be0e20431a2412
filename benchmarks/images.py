"""Images to measure on: a user's folder, or generated images that cost a decoder as much as photographs.

Generated images are noise of four scales, from a tint across the image down to grain, with soft-edged shapes.
At quality 90 they take 2.0 bits a pixel and OpenCV decodes 500x375 of them at 94 % of the rate of Flowers-17
photographs of that size and quality (1.85 bits).
"""

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Settings
from stages.common.parallel import mapped
from stages.data import store

# Cell in pixels; standard deviation of the noise that the channels share, and of each channel's own.
_NOISE = ((128, 40, 25), (32, 25, 10), (8, 14, 0), (2, 9, 0))
# As large as photographs on the web are: 1,024 on the long side.
_LARGE = ((683, 1024), (1024, 683), (768, 1024), (768, 1024))
# Photographs of at most 20 kB in the Animals set are 300x326 and 13 kB in the middle.
_SMALL = ((225, 300), (300, 225), (300, 330), (300, 400))
_CLASSES = 2

Sizes = tuple[tuple[int, int], ...]


def sets(settings: Settings) -> dict[str, Path]:
    """The folders to measure on, each with one folder per class, by name: `large` and `small`, or `own`."""
    if settings.data is not None:
        return {"own": _once(settings.work / "own", lambda folder: _link(folder, settings.data))}
    return {"large": large(settings), "small": small(settings)}


def large(settings: Settings) -> Path:
    """3,000 JPEGs of 683x1024 to 768x1024 at quality 90, 180 kB on average."""
    count = settings.count(3_000, least=8)
    return _once(settings.work / "large", lambda folder: _make(folder, count, _LARGE, 90))


def small(settings: Settings) -> Path:
    """10,000 JPEGs of 225x300 to 300x400 at quality 75, none above 20 kB."""
    count = settings.count(10_000, least=20)
    return _once(settings.work / "small", lambda folder: _make(folder, count, _SMALL, 75))


def image(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, 3) uint8; the same for the same number and size on any machine."""
    rng = np.random.default_rng(number)
    canvas = np.full((height, width, 3), rng.uniform(60, 190, 3), np.float32)
    for cell, light, tint in _NOISE:
        grid = (-(-height // cell) + 1, -(-width // cell) + 1)
        noise = light * rng.standard_normal((*grid, 1), np.float32)
        noise = noise + tint * rng.standard_normal((*grid, 3), np.float32)
        canvas += cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    for _ in range(rng.integers(4, 10)):
        shape = np.zeros((height, width), np.uint8)
        centre = rng.integers((width, height)).tolist()
        axes = (rng.uniform(0.03, 0.3, 2) * min(height, width)).astype(int).tolist()
        cv2.ellipse(shape, centre, axes, rng.uniform(0, 180), 0, 360, 255, cv2.FILLED, cv2.LINE_AA)
        canvas += shape[:, :, None] * rng.uniform(-0.3, 0.3, 3).astype(np.float32)
    return canvas.clip(0, 255).astype(np.uint8)


def packed_noise(path: Path, shape: tuple[int, ...], classes: int = 10) -> Path:
    """Write a packed file of noise: what the images show changes nothing.

    Args:
        path: The file to write.
        shape: Of all images (N, H, W, C).
        classes: How many classes there are.
    """
    provenance = {
        "classes": [str(number) for number in range(classes)],
        "manifest": "none",
        "stats": {"mean": [128.0] * shape[3], "std": [64.0] * shape[3]},
    }
    ids = [str(number) for number in range(shape[0])]
    rng = np.random.default_rng(0)
    with store.create(path, "images", shape, np.uint8, ids=ids, provenance=provenance) as out:
        for start in range(shape[0]):
            out.write(start, rng.integers(0, 256, (1, *shape[1:]), np.uint8))
        out.columns["labels"] = np.arange(shape[0]) % classes
    return path


def _make(folder: Path, count: int, sizes: Sizes, quality: int) -> None:
    def write(number: int) -> None:
        jpeg = cv2.imencode(
            ".jpg", image(number, *sizes[number % len(sizes)]), [cv2.IMWRITE_JPEG_QUALITY, quality]
        )[1]
        (folder / f"class{number % _CLASSES}" / f"{number:05d}.jpg").write_bytes(jpeg.tobytes())

    for _ in mapped(write, range(count)):
        pass


def _link(folder: Path, data: Path | None) -> None:
    """Link every file below `data`, in turn to each class: speed does not depend on an image's content."""
    assert data is not None
    paths = sorted(Path(root, name) for root, _, names in os.walk(data) for name in names)
    for number, path in enumerate(paths):
        place = folder / f"class{number % _CLASSES}" / f"{number:06d}{path.suffix}"
        place.symlink_to(path.absolute())


def _once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Fill a folder unless an earlier benchmark of this run has filled it."""
    if not folder.exists():
        for number in range(_CLASSES):
            (folder / f"class{number}").mkdir(parents=True)
        fill(folder)
    return folder
