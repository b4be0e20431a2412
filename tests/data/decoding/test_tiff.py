"""TIFF by its tags: the table of what is supported, correct values or a refusal for every combination."""

import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.common.errors import ImageError
from stages.data.decoding import decode, inspect
from tests.data.decoding import tiffs
from tests.data.decoding.samples import by_imagemagick, stored
from tests.data.decoding.tiffs import BLACK_IS_ZERO, PALETTE, RGB, WHITE_IS_ZERO, pages, tiff

HEIGHT, WIDTH = 10, 21
NONE, UNSPECIFIED, ASSOCIATED, UNASSOCIATED = None, 0, 1, 2
# The table: unsigned samples of these depths, of these colour spaces, interleaved or in planes, with or
# without alpha, in both byte orders. Everything else is refused, or left to libtiff at 8 bits (CMYK, YCbCr,
# CIELab).
DEPTHS = (1, 2, 4, 8, 10, 12, 14, 16)
SPACES = (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
TABLE = list(itertools.product(SPACES, DEPTHS, (False, True), (NONE, 0, 1, 2), "<>"))


def scene(channels: int, bits: int) -> np.ndarray:
    """Samples (H, W, C) of `bits` bits that use the whole range."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = (x / (WIDTH - 1), y / (HEIGHT - 1), 1 - (x + y) / (WIDTH + HEIGHT - 2), (x % 7) / 6)
    top = 2**bits - 1
    return np.round(np.stack(planes[:channels], axis=2) * top).astype(np.uint16 if bits > 8 else np.uint8)


def expected(samples: np.ndarray, space: int, bits: int, alpha: int | None) -> np.ndarray:
    """What the tags say, computed in floating point."""
    light = samples / (2**bits - 1)
    colors = light[:, :, : 3 if space == RGB else 1]
    if space == WHITE_IS_ZERO:
        colors = 1 - colors
    if alpha in (ASSOCIATED, UNASSOCIATED):
        share = light[:, :, -1:]
        colors = (colors if alpha == ASSOCIATED else colors * share) + 1 - share
    return np.broadcast_to(255 * np.clip(colors, 0, 1), (HEIGHT, WIDTH, 3))


def example(space: int, bits: int, separate: bool, alpha: int | None, order: str) -> tuple[bytes, np.ndarray]:
    colors = 3 if space == RGB else 1
    samples = scene(4, bits)[:, :, [*range(colors), *([3] if alpha is not NONE else [])]]
    if alpha == ASSOCIATED:
        # No premultiplied colour is brighter than its alpha.
        if space == WHITE_IS_ZERO:
            samples[:, :, 0] = np.maximum(samples[:, :, 0], 2**bits - 1 - samples[:, :, 1])
        else:
            samples[:, :, :colors] = np.minimum(samples[:, :, :colors], samples[:, :, -1:])
    extra = () if alpha is NONE else (alpha,)
    data = tiff(samples, space, bits, order=order, separate=separate, extra=extra)
    return data, expected(samples, space, bits, alpha)


def pixels_of(data: bytes) -> np.ndarray:
    facts = inspect(data, 10**6, hashed=True)
    result = decode(data, "rgb", plain=facts.plain)
    assert result.shape == (facts.height, facts.width, 3)
    return result.astype(int)


@pytest.mark.parametrize(("space", "bits", "separate", "alpha", "order"), TABLE)
def test_the_table_of_supported_files(
    space: int, bits: int, separate: bool, alpha: int | None, order: str
) -> None:
    data, wanted = example(space, bits, separate, alpha, order)
    assert np.abs(pixels_of(data) - wanted).max() <= 1.5


# ImageMagick 6 inverts WhiteIsZero at these depths only, and reads gray with alpha at 8 and 16 bits only.
BY_IMAGEMAGICK = [
    (space, bits, separate, alpha)
    for space, bits, separate, alpha, order in TABLE
    if order == ">"
    and (space != WHITE_IS_ZERO or bits in (1, 8, 16))
    and (alpha is NONE or (alpha != UNSPECIFIED and bits >= 8 and space == RGB))
]


@pytest.mark.parametrize(("space", "bits", "separate", "alpha"), BY_IMAGEMAGICK)
def test_imagemagick_sees_the_same(
    space: int, bits: int, separate: bool, alpha: int | None, tmp_path: Path
) -> None:
    data, _ = example(space, bits, separate, alpha, ">")
    options = ["-background", "white", "-flatten"] if alpha is not NONE else []
    expected = by_imagemagick(data, tmp_path, *options)
    assert np.abs(pixels_of(data) - expected).max() <= 2


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("order", "<>")
def test_libtiff_sees_the_same(space: int, bits: int, order: str, tmp_path: Path) -> None:
    if shutil.which("tiff2rgba") is None:
        pytest.skip("tiff2rgba is not installed (Debian: apt-get install libtiff-tools)")
    if space == RGB and bits < 8:
        pytest.skip("libtiff's RGBA interface has no RGB of few bits")
    source, copy = tmp_path / "source.tif", tmp_path / "copy.tif"
    source.write_bytes(example(space, bits, False, NONE, order)[0])
    subprocess.run(["tiff2rgba", "-c", "none", source, copy], check=True, capture_output=True)
    expected = np.asarray(Image.open(copy).convert("RGB"), int)
    assert np.abs(pixels_of(source.read_bytes()) - expected).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("deep", [True, False])
def test_a_palette(bits: int, deep: bool) -> None:
    samples = scene(1, bits)
    colors = np.random.default_rng(0).integers(0, 256, (3, 2**bits))
    colors[0, 0] = 255
    table = tuple((colors * (257 if deep else 1)).ravel().tolist())
    data = tiff(samples, PALETTE, bits, tags={tiffs.COLORMAP: table})
    np.testing.assert_array_equal(pixels_of(data), colors.T[samples[:, :, 0]])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_tag(orientation: int) -> None:
    samples = scene(3, 16)
    data = tiff(stored(samples, orientation), RGB, 16, tags={tiffs.ORIENTATION: (orientation,)})
    np.testing.assert_array_equal(pixels_of(data), samples >> 8)


def test_a_thumbnail_as_first_page_is_not_the_image() -> None:
    full, small = scene(3, 8), scene(3, 8)[::2, ::2] // 2
    data = pages([(small, RGB, 8, False, (), {tiffs.SUBFILE: (1,)}), (full, RGB, 8, False, (), {})])
    np.testing.assert_array_equal(pixels_of(data), full)
    only = pages([(small, RGB, 8, False, (), {tiffs.SUBFILE: (1,)})])
    np.testing.assert_array_equal(pixels_of(only), small)


REFUSED: dict[str, tuple[Any, ...]] = {
    "signed 8 bits": (scene(1, 8).astype(np.int8), BLACK_IS_ZERO, 8),
    "signed 16 bits": (scene(1, 16).astype(np.int16), BLACK_IS_ZERO, 16),
    "unsigned 32 bits": (scene(1, 8).astype(np.uint32), BLACK_IS_ZERO, 32),
    "signed 32 bits": (scene(3, 8).astype(np.int32), RGB, 32),
    "half floats": (scene(1, 8).astype(np.float16), BLACK_IS_ZERO, 16),
    "floats": (scene(3, 8).astype(np.float32), RGB, 32),
    "doubles": (scene(1, 8).astype(np.float64), BLACK_IS_ZERO, 64),
    "a mask": (scene(1, 1), tiffs.MASK, 1),
    "inks in planes, 16 bits": (scene(4, 16), tiffs.INKS, 16, True),
    "signed inks": (scene(4, 8).astype(np.int8), tiffs.INKS, 8),
    "a colour filter": (scene(1, 16), 32803, 16),
    "log luminance": (scene(1, 16).astype(np.int16), 32844, 16),
    "two channels without a meaning as RGB": (scene(2, 8), RGB, 8),
    "a palette with alpha": (scene(2, 8), PALETTE, 8, False, (2,), {tiffs.COLORMAP: (0,) * 768}),
    "no palette": (scene(1, 8), PALETTE, 8),
}


def refused(name: str) -> bytes:
    samples, space, bits, *rest = REFUSED[name]
    defaults: list[Any] = [False, (), {}]
    separate, extra, tags = [*rest, *defaults[len(rest) :]]
    return pages([(samples, space, bits, separate, extra, tags)])


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_agreed_meaning_is_refused(name: str) -> None:
    with pytest.raises(ImageError) as error:
        inspect(refused(name), 10**6, hashed=True)
    assert "broken image" not in str(error.value)


def test_a_raw_file_is_refused_with_the_way_out() -> None:
    data = tiff(scene(3, 8), RGB, 8, tags={50706: (1, 4)})
    with pytest.raises(ImageError, match=r"raw file of a camera; convert it .* darktable-cli"):
        inspect(data, 10**6, hashed=False)


@pytest.mark.parametrize(
    "options",
    [
        "-c lzw",
        "-c zip",
        "-c packbits",
        "-c lzw:2",
        "-c zip:2",
        "-t",
        "-8",
        "-B",
        "-p separate",
        "-t -c lzw:2 -p separate",
        "-c jpeg:95",
    ],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_libtiffs_ways_to_store(options: str, bits: int, tmp_path: Path) -> None:
    if shutil.which("tiffcp") is None:
        pytest.skip("tiffcp is not installed (Debian: apt-get install libtiff-tools)")
    if bits == 16 and ("jpeg" in options or "separate" in options):
        pytest.skip("tiffcp does not write it")
    source, copy = tmp_path / "source.tif", tmp_path / "copy.tif"
    samples = scene(3, bits)
    source.write_bytes(tiff(samples, RGB, bits))
    subprocess.run(["tiffcp", *options.split(), source, copy], check=True, capture_output=True)
    differences = np.abs(pixels_of(copy.read_bytes()) - (samples >> (bits - 8)))
    assert differences.mean() <= (8 if "jpeg" in options else 0)


@pytest.mark.parametrize("options", ["-c g3", "-c g4", "-c g3:2d"])
@pytest.mark.parametrize("space", [WHITE_IS_ZERO, BLACK_IS_ZERO])
def test_fax(options: str, space: int, tmp_path: Path) -> None:
    if shutil.which("tiffcp") is None:
        pytest.skip("tiffcp is not installed (Debian: apt-get install libtiff-tools)")
    source, copy = tmp_path / "source.tif", tmp_path / "copy.tif"
    samples = scene(1, 1)
    source.write_bytes(tiff(samples, space, 1))
    subprocess.run(["tiffcp", *options.split(), source, copy], check=True, capture_output=True)
    np.testing.assert_array_equal(pixels_of(copy.read_bytes()), pixels_of(source.read_bytes()))


def test_a_tiff_without_a_page_is_refused() -> None:
    with pytest.raises(ImageError, match="broken TIFF: it has no page"):
        inspect(tiff(scene(3, 8), RGB, 8)[:300], 10**6, hashed=False)
