"""Bringing pixels to one size."""

import numpy as np
import pytest

from stages.data.images import to_size


def ramp(height: int, width: int, channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    planes = [255 * x / max(1, width - 1), 255 * y / max(1, height - 1), 0 * x + 100]
    return np.stack(planes[:channels], axis=2).round().astype(np.uint8)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 10_000), (10_000, 1), (7, 300), (300, 7), (16, 16), (1, 70_000)]
)
@pytest.mark.parametrize("keep_aspect", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_shape_becomes_the_size_asked_for(shape, keep_aspect, channels) -> None:
    resized = to_size(np.full((*shape, channels), 77, np.uint8), 16, 24, keep_aspect=keep_aspect)
    assert resized.shape == (16, 24, channels)
    assert resized.dtype == np.uint8
    assert (resized == 77).all()


def test_the_centre_is_taken_in_the_targets_proportions() -> None:
    wide = ramp(40, 120)
    wide[:, :40] = 0
    wide[:, 80:] = 255
    np.testing.assert_array_equal(to_size(wide, 40, 40, keep_aspect=True), wide[:, 40:80])
    tall = np.ascontiguousarray(wide.transpose(1, 0, 2))
    np.testing.assert_array_equal(to_size(tall, 40, 40, keep_aspect=True), tall[40:80])


def test_without_aspect_everything_is_in_the_picture() -> None:
    stretched = to_size(ramp(30, 90), 30, 30, keep_aspect=False)
    assert stretched[0, 0, 0] < 5
    assert stretched[0, -1, 0] > 250


def test_shrinking_averages() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    means = pixels.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(to_size(pixels, 16, 16, keep_aspect=True), means, atol=0.6)


def test_enlarging_is_smooth_and_keeps_the_brightness() -> None:
    pixels = ramp(8, 8, 1)
    enlarged = to_size(pixels, 32, 32, keep_aspect=True)
    assert abs(enlarged.mean() - pixels.mean()) < 1
    assert np.abs(np.diff(enlarged[16, :, 0].astype(int))).max() < 20


def test_a_picture_of_the_right_size_is_taken_as_it_is() -> None:
    pixels = ramp(16, 16)
    np.testing.assert_array_equal(to_size(pixels, 16, 16, keep_aspect=True), pixels)
