"""The digits that scikit-learn ships."""

from pathlib import Path

import cv2
import numpy as np
from sklearn.datasets import load_digits

from stages.data.sources import digits, images


def test_every_scan_is_a_png_with_its_levels_spread_over_a_byte(tmp_path: Path) -> None:
    result = list(images(digits.Params(kind="digits", path=tmp_path)))
    original = load_digits()
    assert [image.label for image in result] == [str(target) for target in original.target]
    assert result[0].name == "0/0000.png"
    for number in (0, 7, 1796):
        pixels = cv2.imdecode(np.frombuffer(result[number].read(), np.uint8), cv2.IMREAD_UNCHANGED)
        assert pixels is not None
        assert pixels.dtype == np.uint8
        np.testing.assert_allclose(pixels / 255, original.images[number] / 16, atol=0.5 / 255)
