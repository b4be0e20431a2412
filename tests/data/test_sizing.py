"""Bringing images to one size."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.data import decoding
from stages.data.sizing import Quality, View, to_size


def ramp(height: int, width: int, channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    planes = [255 * x / max(1, width - 1), 255 * y / max(1, height - 1), 0 * x + 100]
    return np.stack(planes[:channels], axis=2).round().astype(np.uint8)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 10_000), (10_000, 1), (7, 300), (300, 7), (16, 16), (1, 70_000)]
)
@pytest.mark.parametrize("keep_aspect", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_shape_becomes_the_size_asked_for(
    shape: tuple[int, int], keep_aspect: bool, channels: int
) -> None:
    resized = to_size(
        np.full((*shape, channels), 77, np.uint8), 16, 24, keep_aspect=keep_aspect, quality="exact"
    )
    assert resized.shape == (16, 24, channels)
    assert resized.dtype == np.uint8
    assert (resized == 77).all()


def test_the_centre_is_taken_in_the_targets_proportions() -> None:
    wide = ramp(40, 120)
    wide[:, :40] = 0
    wide[:, 80:] = 255
    np.testing.assert_array_equal(to_size(wide, 40, 40, keep_aspect=True, quality="exact"), wide[:, 40:80])
    tall = np.ascontiguousarray(wide.transpose(1, 0, 2))
    np.testing.assert_array_equal(to_size(tall, 40, 40, keep_aspect=True, quality="exact"), tall[40:80])


def test_without_aspect_everything_is_in_the_image() -> None:
    stretched = to_size(ramp(30, 90), 30, 30, keep_aspect=False, quality="exact")
    assert stretched[0, 0, 0] < 5
    assert stretched[0, -1, 0] > 250


def test_shrinking_averages() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    means = pixels.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(to_size(pixels, 16, 16, keep_aspect=True, quality="exact"), means, atol=0.6)


@pytest.mark.parametrize("shape", [(100, 1000), (1000, 100), (48, 1000), (128, 1000)])
@pytest.mark.parametrize("quality", ["exact", "fast"])
def test_a_side_that_shrinks_is_averaged_while_the_other_grows(
    shape: tuple[int, int], quality: Quality
) -> None:
    """Pixels between were left out: stripes came out black and white."""
    along = int(np.argmax(shape))
    stripes = np.indices((*shape, 3))[along] % 2 * 255
    resized = to_size(stripes.astype(np.uint8), 128, 128, keep_aspect=False, quality=quality)
    assert np.abs(resized.astype(int) - 127).max() <= 10


def test_enlarging_is_smooth_and_keeps_the_brightness() -> None:
    pixels = ramp(8, 8, 1)
    enlarged = to_size(pixels, 32, 32, keep_aspect=True, quality="exact")
    assert abs(enlarged.mean() - pixels.mean()) < 1
    assert np.abs(np.diff(enlarged[16, :, 0].astype(int))).max() < 20


def test_an_image_of_the_right_size_is_taken_as_it_is() -> None:
    pixels = ramp(16, 16)
    np.testing.assert_array_equal(to_size(pixels, 16, 16, keep_aspect=True, quality="exact"), pixels)


def photo(height: int, width: int) -> np.ndarray:
    """Smooth, as photographs mostly are."""
    coarse = np.random.default_rng(3).integers(0, 256, (height // 40, width // 40, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(pixels: np.ndarray, kind: str, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, kind, exif=exif, quality=95)
    return file.getvalue()


@pytest.mark.parametrize("shape", [(1200, 1600), (600, 400), (321, 457), (150, 900), (100, 120)])
@pytest.mark.parametrize("keep_aspect", [True, False])
@pytest.mark.parametrize("color", ["rgb", "gray"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_fast_shows_what_exact_shows(
    shape: tuple[int, int], keep_aspect: bool, color: str, kind: str
) -> None:
    data = encoded(photo(*shape), kind)
    exact, fast = (
        View(96, 128, color, keep_aspect, quality).apply(data, *shape, plain=True)
        for quality in ("exact", "fast")
    )
    assert fast.shape == exact.shape
    assert np.abs(fast.astype(int) - exact).mean() < 4


def test_fast_decodes_a_large_jpeg_at_a_part_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    requested = []
    real = decoding.decode

    def decode(*args: Any, **how: Any) -> np.ndarray:
        requested.append(how["reduction"])
        return real(*args, **how)

    monkeypatch.setattr(decoding, "decode", decode)
    for height, width in ((96, 96), (191, 300), (192, 300), (390, 400), (10_000, 800)):
        View(96, 96, "rgb", True, "fast").apply(
            encoded(photo(height, width), "JPEG"), height, width, plain=True
        )
    assert requested == [1, 1, 2, 4, 8]


def test_a_turned_jpeg_is_upright_at_a_part_of_its_size() -> None:
    pixels = photo(400, 200)
    turned = encoded(np.ascontiguousarray(np.rot90(pixels)), "JPEG", orientation=6)
    sized = View(100, 50, "rgb", True, "fast").apply(turned, 400, 200, plain=False)
    expected = to_size(pixels, 100, 50, keep_aspect=True, quality="exact")
    assert np.abs(sized.astype(int) - expected).mean() < 3
