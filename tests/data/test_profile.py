"""The figures of one image."""

import cv2
import numpy as np
import pytest

from stages.data import profile


@pytest.mark.parametrize("shape", [(1, 1), (17, 300), (128, 128), (400, 250)])
def test_brightness_and_contrast_are_mean_and_deviation_of_gray(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    look = profile.look(pixels)
    gray = cv2.cvtColor(look.small, cv2.COLOR_RGB2GRAY)
    assert look.brightness == gray.mean()
    assert look.contrast == pytest.approx(gray.std(), abs=1e-9)
