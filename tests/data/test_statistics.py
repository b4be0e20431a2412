"""Channel statistics: exact, whatever the order and the number of images."""

import numpy as np
import pytest

from stages.data.statistics import ChannelStatistics, sums


@pytest.mark.parametrize("shape", [(1, 1, 1), (16, 16, 3), (17, 31, 3), (256, 256, 1), (1, 5000, 3)])
def test_sums_are_exact_integers(shape: tuple[int, ...]) -> None:
    for seed in range(20):
        pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
        totals, squares = sums(pixels)
        values = pixels.astype(np.int64)
        assert totals.tolist() == values.sum(axis=(0, 1)).tolist()
        assert squares.tolist() == (values**2).sum(axis=(0, 1)).tolist()


def test_sums_of_a_view_that_is_not_contiguous() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3)).astype(np.uint8)[2:15, ::-1]
    assert sums(pixels)[0].tolist() == pixels.astype(int).sum(axis=(0, 1)).tolist()


def test_mean_and_deviation_are_numpys() -> None:
    images = np.random.default_rng(1).integers(0, 256, (7, 9, 11, 3)).astype(np.uint8)
    totals, squares = (np.stack(part) for part in zip(*map(sums, images), strict=True))
    result = ChannelStatistics.from_sums(totals, squares, 9 * 11)
    wide = images.astype(np.float64)
    np.testing.assert_allclose(result.mean, wide.mean(axis=(0, 1, 2)), rtol=1e-14)
    np.testing.assert_allclose(result.std, wide.std(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(result.m2, ((wide - wide.mean(axis=(0, 1, 2))) ** 2).sum(axis=(0, 1, 2)))
    assert result.count == 7 * 9 * 11


def test_the_order_of_images_changes_no_bit() -> None:
    draw = np.random.default_rng(2)
    totals, squares = draw.integers(0, 2**40, (2, 1000, 3))
    order = draw.permutation(1000)
    assert ChannelStatistics.from_sums(totals, squares, 99) == ChannelStatistics.from_sums(
        totals[order], squares[order], 99
    )


def test_images_of_one_colour_have_no_deviation() -> None:
    count = 100_000
    totals = np.full((count, 1), 100 * 65536, np.int64)
    squares = np.full((count, 1), 100**2 * 65536, np.int64)
    result = ChannelStatistics.from_sums(totals, squares, 65536)
    assert (result.mean, result.m2, result.std) == ([100.0], [0.0], [0.0])
