"""Where patches are cut, checked on images whose pixels say where they came from."""

import numpy as np
import pytest

from stages.data import crops


def numbered(count: int, height: int, width: int, channels: int = 2) -> np.ndarray:
    """Images whose first channel is the row, the second the column."""
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    image = np.stack([rows, columns, np.zeros_like(rows)][:channels], axis=2).astype(np.uint8)
    return np.stack([image] * count)


@pytest.mark.parametrize(("side", "patch", "corner"), [(10, 6, 2), (10, 5, 2), (256, 227, 14), (7, 7, 0)])
def test_the_centre_leaves_as_much_on_each_side_and_an_odd_pixel_below(
    side: int, patch: int, corner: int
) -> None:
    cut = crops.centre(numbered(2, side, side + 4), (patch, patch))
    assert cut.shape == (2, patch, patch, 2)
    assert cut[1, 0, 0].tolist() == [corner, corner + 2]
    assert cut[1, -1, -1].tolist() == [corner + patch - 1, corner + 2 + patch - 1]


def test_ten_crops_are_the_corners_clockwise_the_centre_and_each_mirrored() -> None:
    result = list(crops.ten(numbered(3, 10, 12), (4, 6)))
    assert [view.shape for view in result] == [(3, 4, 6, 2)] * 10
    assert [view[2, 0, 0].tolist() for view in result[:5]] == [[0, 0], [0, 6], [6, 6], [6, 0], [3, 3]]
    for plain, mirrored in zip(result[:5], result[5:], strict=True):
        np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])


def test_every_place_of_a_random_patch_occurs_and_no_other() -> None:
    corners = crops.random_corners(numbered(400, 8, 6), (6, 5), np.random.default_rng(0))
    assert {tuple(corner) for corner in corners.tolist()} == {(y, x) for y in range(3) for x in range(2)}


def test_a_cut_starts_at_its_corner_and_is_mirrored_as_asked() -> None:
    images = numbered(4, 8, 9, channels=3)
    corners = np.array([[0, 0], [2, 3], [1, 0], [2, 3]])
    flips = np.array([[False, False], [True, False], [False, True], [True, True]])
    plain = [
        image[top : top + 6, left : left + 5] for image, (top, left) in zip(images, corners, strict=True)
    ]
    cut = crops.cut(images, (6, 5), corners, flips)
    expected = [plain[0], plain[1][:, ::-1], plain[2][::-1], plain[3][::-1, ::-1]]
    np.testing.assert_array_equal(cut, expected)
    grey = crops.cut(images[..., :1], (6, 5), corners, flips)
    np.testing.assert_array_equal(grey, np.array(expected)[..., :1])
