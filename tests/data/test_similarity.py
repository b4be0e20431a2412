"""Near duplicates: what a hash survives, which pairs are found, and which images hang together."""

import numpy as np
import pytest
from PIL import Image

from stages.data.similarity import close_pairs, groups, perceptual_hash


def scene(seed: int = 0) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((120, 90), Image.Resampling.BICUBIC)


def distances(entry: Image.Image, other: Image.Image) -> int:
    return ((perceptual_hash(entry) or 0) ^ (perceptual_hash(other) or 0)).bit_count()


def test_another_size_brightness_and_palette_leave_the_hash_close() -> None:
    image = scene()
    assert distances(image, image.resize((60, 45))) <= 4
    assert distances(image, image.point(lambda value: value * 0.8)) <= 4
    assert distances(image, image.convert("L")) <= 4


def test_other_images_are_far() -> None:
    assert min(distances(scene(), scene(seed)) for seed in range(1, 50)) > 8


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 77)])
def test_an_image_of_one_colour_has_no_hash(colour: tuple[int, int, int]) -> None:
    assert perceptual_hash(Image.new("RGB", (50, 40), colour)) is None


def test_a_blank_scan_with_a_little_noise_has_no_hash() -> None:
    noise = np.random.default_rng(0).integers(250, 253, (200, 200), dtype=np.uint8)
    assert perceptual_hash(Image.fromarray(noise)) is None


@pytest.mark.parametrize("distance", [0, 1, 4, 9, 16])
def test_the_same_pairs_as_by_looking_at_all(distance: int) -> None:
    draw = np.random.default_rng(distance)
    hashes = draw.integers(0, 2**64, 300, dtype=np.uint64)
    for bit in range(distance):
        hashes[150:] ^= (draw.random(150) < 0.9).astype(np.uint64) << np.uint64(3 * bit)
    hashes[150:] = hashes[:150] ^ (hashes[150:] & np.uint64(sum(1 << 3 * bit for bit in range(distance))))
    different = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = np.argwhere(np.triu(different <= distance, 1)).tolist()
    result = close_pairs(hashes, distance)
    assert [[pair.first, pair.second] for pair in result] == expected
    assert all(different[pair.first, pair.second] == pair.distance for pair in result)


def test_many_copies_are_paired_with_the_first_alone() -> None:
    pairs = close_pairs(np.full(500, 7, np.uint64), 4)
    assert [(pair.first, pair.second) for pair in pairs] == [(0, place) for place in range(1, 500)]


def test_images_connected_by_pairs_are_one_group() -> None:
    hashes = np.asarray([0b0000, 0b1111 << 30, 0b0011, 0b1111, 0b1111 << 30], np.uint64)
    result = groups(5, close_pairs(hashes, 2))
    assert result[0] == result[2] == result[3] != result[1] == result[4]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_without_pairs_each_is_alone(count: int) -> None:
    assert len(set(groups(count, []).tolist())) == count
    assert close_pairs(np.empty(0, np.uint64), 4) == []
