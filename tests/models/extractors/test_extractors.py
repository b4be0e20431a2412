"""Features that need no weights: pixels and HOG."""

import numpy as np
import pytest

from stages.common.errors import ParamsError
from stages.models import extractors
from stages.models.extractors import hog, pixels

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), np.uint8)


def hog_params(**changes: int) -> hog.Params:
    return hog.Params(kind="hog", **({"cell": 4, "block": 2, "bins": 9} | changes))


def test_pixels_are_flat_and_scaled() -> None:
    features = extractors.prepare(pixels.Params(kind="pixels"), (16, 24, 3))(IMAGES)
    assert features.shape == (3, 16 * 24 * 3)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features * 255, IMAGES.reshape(3, -1), atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_hog_has_a_histogram_for_each_cell_of_each_block(channels: int) -> None:
    features = extractors.prepare(hog_params(), (16, 24, channels))(IMAGES[..., :channels])
    # 4x6 cells make 3x5 overlapping blocks of 2x2 cells with 9 bins each.
    assert features.shape == (3, 3 * 5 * 4 * 9)
    assert features.dtype == np.float32


def test_hog_depends_on_direction_and_not_on_brightness() -> None:
    ramp = np.repeat(np.arange(0, 160, 10, dtype=np.uint8)[None, :, None], 16, axis=0)
    across, down = ramp, ramp.transpose(1, 0, 2)
    run = extractors.prepare(hog_params(), (16, 16, 1))
    lying, standing, flat = run(np.stack([across, down, np.full_like(across, 90)]))
    assert np.abs(lying - standing).max() > 0.3
    np.testing.assert_allclose(flat, 0)


@pytest.mark.parametrize(("shape", "changes"), [((18, 16, 1), {}), ((16, 16, 1), {"block": 5})])
def test_hog_refuses_sizes_that_do_not_divide_into_cells(
    shape: tuple[int, ...], changes: dict[str, int]
) -> None:
    with pytest.raises(ParamsError, match=f"resize.size .* it is {shape[0]}x{shape[1]}"):
        extractors.prepare(hog_params(**changes), shape)
