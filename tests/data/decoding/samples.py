"""Photographs to decode, other decoders to compare with, and what decoding takes."""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Debian's ImageMagick 6; `magick` is version 7.
_MAGICK = next(filter(None, map(shutil.which, ("convert-im6.q16", "magick"))), None)


_ROOT = Path(__file__).parents[3]
_MEASURED = """
import sys
from pathlib import Path
import imagecodecs, pillow_jxl, tifffile
from stages.common.errors import ImageError
from stages.common.machine import peak_memory
from stages.data.decoding import inspect
data, before = Path(sys.argv[1]).read_bytes(), peak_memory()
try:
    inspect(data, int(sys.argv[2]), hashed=False)
except ImageError as error:
    print(peak_memory() - before, error)
"""


def photograph(seed: int, height: int = 200, width: int = 300) -> np.ndarray:
    """Smooth shapes with grain, (H, W, 3), as photographs have them."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 256, (height // 25, width // 25, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), float)
    return np.clip(smooth + draw.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Upright pixels (H, W, C) as a file of this EXIF orientation stores them."""
    arrays = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, 1),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pixels, -1),
    }
    return np.ascontiguousarray(arrays[orientation])


def jpeg(pixels: np.ndarray | Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, "JPEG", **{"quality": 90} | options)
    return file.getvalue()


def by_imagemagick(data: bytes, folder: Path, *options: str) -> np.ndarray:
    """The pixels (H, W, 3) that ImageMagick sees after `options`; skips the test without ImageMagick."""
    if _MAGICK is None:
        pytest.skip("ImageMagick is not installed (Debian: apt-get install imagemagick)")
    file = folder / "image"
    file.write_bytes(data)
    # The first page; the format follows from the content.
    words = [_MAGICK, f"{file}[0]", *options, "-depth", "8", "ppm:-"]
    done = subprocess.run(words, capture_output=True, check=True)
    return np.asarray(Image.open(io.BytesIO(done.stdout)).convert("RGB"))


def memory_of(data: bytes, max_pixels: int, folder: Path) -> tuple[float, str]:
    """The memory in MiB that refusing an image takes, in a process of its own, and the reason."""
    file = folder / "image"
    file.write_bytes(data)
    words = [sys.executable, "-c", _MEASURED, str(file), str(max_pixels)]
    printed = subprocess.run(words, cwd=_ROOT, capture_output=True, text=True, check=True).stdout
    memory, reason = printed.split(maxsplit=1)
    return float(memory), reason
