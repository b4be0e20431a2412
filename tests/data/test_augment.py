"""What augmentation does to images: by hand on marked pixels, and against Keras' ImageDataGenerator."""

import tracemalloc
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf

from stages.data.augment import Augment, augment_batch, colour, geometry, mix, shares

CONF = Path(__file__).parents[2] / "conf"
OFF = yaml.safe_load((CONF / "augment" / "base.yaml").read_text(encoding="utf-8"))


def augment(**changes: Any) -> Augment:
    return Augment.model_validate(OFF | changes)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def smooth(count: int = 1, side: int = 33) -> np.ndarray:
    """Images of soft blots, whose bilinear readings hardly depend on rounding."""
    y, x = np.mgrid[:side, :side] / side
    phases = rng().uniform(0, 6, (count, 3, 1, 1))
    waves = 127 + 60 * np.sin(7 * x + phases) + 60 * np.cos(5 * y + 3 * x - phases)
    return waves.transpose(0, 2, 3, 1).astype(np.uint8)


def marked(x: int, y: int, side: int = 21) -> np.ndarray:
    """One black image with one white pixel."""
    pixels = np.zeros((1, side, side, 3), np.uint8)
    pixels[0, y, x] = 255
    return pixels


def moved(pixels: np.ndarray, fill: str = "nearest", **changes: Any) -> np.ndarray:
    """The first image after one affine of known values."""
    side = pixels.shape[1]
    values: dict[str, Any] = {"angle": 0.0, "shear": 0.0, "shift": (0.0, 0.0), "zoom": (1.0, 1.0)}
    values |= {"origin": (0.0, 0.0), "scale": (1.0, 1.0)} | changes
    arrays = {name: np.array([value], np.float64) for name, value in values.items()}
    places = geometry.composed(**arrays, extent=np.array([side, side], np.float64))
    return geometry.warp(pixels, places, (side, side), fill)[0]


def white(image: np.ndarray) -> list[tuple[int, int]]:
    """The (x, y) of white pixels."""
    return [(x, y) for y, x in np.argwhere(image[..., 0] == 255).tolist()]


@pytest.mark.parametrize(
    ("values", "mark", "lands"),
    [
        # The middle of 21 pixels is 10. Values say where a pixel comes from: the mark goes the other way.
        ({}, (3, 4), [(3, 4)]),
        ({"shift": (2.0, -3.0)}, (3, 4), [(1, 7)]),
        # A quarter turn: the result's (x, y) comes from (10 - (y - 10), 10 + (x - 10)).
        ({"angle": 90.0}, (3, 4), [(4, 17)]),
        ({"angle": 90.0, "shift": (1.0, 0.0)}, (3, 4), [(3, 17)]),
        ({"angle": 180.0}, (3, 4), [(17, 16)]),
        ({"zoom": (-1.0, 1.0)}, (3, 4), [(17, 4)]),
        ({"zoom": (1.0, -1.0)}, (3, 4), [(3, 16)]),
        # Half the distance from the middle: what was 8 away is now 16 away, what was 4 away is 8.
        ({"zoom": (0.5, 0.5)}, (14, 6), [(18, 2)]),
        ({"origin": (2.0, 5.0)}, (3, 6), [(1, 1)]),
    ],
)
def test_a_marked_pixel_lands_where_the_hand_puts_it(
    values: dict[str, Any], mark: tuple[int, int], lands: list[tuple[int, int]]
) -> None:
    assert white(moved(marked(*mark), "constant", **values)) == lands


def test_a_shear_of_45_degrees_moves_rows_by_their_distance_from_the_middle() -> None:
    """x comes from x - sin 45° · (y - 10), y from 10 + cos 45° · (y - 10)."""
    x, y = np.meshgrid(np.arange(21), np.arange(21))
    image = np.stack([x, y, x], axis=2).astype(np.uint8)[None] * 10
    sheared = moved(image, shear=45.0).astype(float)
    half = np.sqrt(0.5)
    for place_x, place_y in ((10, 10), (14, 6), (8, 14)):
        expected = [place_x - half * (place_y - 10), 10 + half * (place_y - 10)]
        assert sheared[place_y, place_x, :2] / 10 == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("fill", ["nearest", "reflect"])
def test_pixels_are_those_of_keras_but_for_rounding(fill: str) -> None:
    from keras.src.legacy.preprocessing.image import apply_affine_transform

    values = {"theta": 20, "tx": 4, "ty": -6, "shear": 11, "zx": 1.1, "zy": 0.85}
    (image,) = smooth(side=64)
    axes = {"row_axis": 0, "col_axis": 1, "channel_axis": 2, "fill_mode": fill}
    expected = apply_affine_transform(image.astype(np.float64), **axes, **values)
    ours = moved(image[None], fill, angle=20, shift=(4, -6), shear=11, zoom=(1.1, 0.85))
    assert np.abs(ours - expected).max() < 2


def test_what_lies_beyond_the_border_is_what_fill_says() -> None:
    images = np.broadcast_to(np.arange(10, 240, 10, dtype=np.uint8)[None, None, :, None], (1, 23, 23, 3))
    for fill, expected in {"nearest": 10, "reflect": 40, "wrap": 200, "constant": 0}.items():
        assert moved(np.ascontiguousarray(images), fill, shift=(-4.0, 0.0))[5, 0, 0] == expected, fill


def test_draws_stay_within_their_ranges_and_fill_them() -> None:
    params = augment(rotation=30.0, shift=0.1, zoom=0.2)
    images = np.zeros((500, 20, 40, 3), np.uint8)
    places = geometry.matrices(params, images, (20, 40), np.zeros((500, 2), np.bool_), rng())
    angles = np.degrees(np.arctan2(places[:, 1, 0], places[:, 0, 0]))
    zooms = np.linalg.norm(places[:, :, :2], axis=1)
    middle = np.array([19.5, 9.5])
    shifts = places[:, :, :2] @ middle + places[:, :, 2] - middle
    lengths = np.hypot(*(shifts / [4, 2]).T)
    assert np.abs(angles).max() == pytest.approx(30, abs=0.5)
    assert (zooms.min(), zooms.max()) == (pytest.approx(0.8, abs=0.01), pytest.approx(1.2, abs=0.01))
    assert np.abs(shifts[:, 0]).max() <= 4.5
    assert lengths.max() > 0.9
    assert np.abs(zooms[:, 0] - zooms[:, 1]).max() > 0.2, "height and width are zoomed on their own"


def test_half_of_the_images_are_flipped_and_nothing_else_happens() -> None:
    images = smooth(200)
    flipped = augment_batch(images, augment(horizontal_flip=True), rng())
    same = (flipped == images).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(flipped[~same], images[~same][:, :, ::-1])
    assert 70 < same.sum() < 130
    turned = augment_batch(images, augment(horizontal_flip=True, vertical_flip=True), rng())
    upside_down = (turned == images[:, ::-1]).all(axis=(1, 2, 3))
    assert 25 < upside_down.sum() < 75


def test_a_patch_that_is_warped_by_nothing_is_the_patch_that_is_copied() -> None:
    """A zoom too small to see takes the way of the affine."""
    images = smooth(8, side=20)
    for changes in ({"zoom": 1e-9}, {}):
        patches = augment_batch(images, augment(**changes), rng(), patch=(12, 15))
        assert patches.shape == (8, 12, 15, 3)
        for image, patch in zip(images, patches, strict=True):
            places = np.lib.stride_tricks.sliding_window_view(image, (12, 15, 3))
            assert (places == patch).all(axis=(3, 4, 5)).any()


def test_a_resized_crop_stays_inside_and_has_at_least_its_share() -> None:
    images = np.zeros((300, 30, 40, 3), np.uint8)
    still = np.zeros((300, 2), np.bool_)
    places = geometry.matrices(augment(resized_crop=0.25), images, (10, 10), still, rng())
    corners = places @ np.array([[-0.5, -0.5, 1], [9.5, 9.5, 1]]).T
    assert corners[:, :, 0].min() >= -0.5 - 1e-9
    assert (corners[:, :, 1] <= np.array([39.5, 29.5]) + 1e-9).all()
    areas = (corners[:, :, 1] - corners[:, :, 0]).prod(axis=1) / 1200
    assert 0.25 - 1e-9 <= areas.min() < 0.3
    assert areas.max() > 0.9


@pytest.mark.parametrize(
    ("side", "share"), [((64, 64), 1.0), ((64, 64), 0.8), ((64, 256), 0.9), ((256, 64), 0.5)]
)
def test_a_resized_crop_that_would_be_beyond_the_image_keeps_its_area(
    side: tuple[int, int], share: float
) -> None:
    """Of a square image, a crop of at least all of it was 0.93 of it."""
    images, still = np.zeros((500, *side, 3), np.uint8), np.zeros((500, 2), np.bool_)
    places = geometry.matrices(augment(resized_crop=share), images, (10, 10), still, rng())
    corners = places @ np.array([[-0.5, -0.5, 1], [9.5, 9.5, 1]]).T
    areas = (corners[:, :, 1] - corners[:, :, 0]).prod(axis=1) / np.prod(side)
    assert share - 1e-9 <= areas.min() < share + 0.05
    assert corners[:, :, 0].min() >= -0.5 - 1e-9
    assert (corners[:, :, 1] <= np.array(side[::-1]) - 0.5 + 1e-9).all()


def test_labels_as_shares_take_no_table_of_all_pairs_of_classes() -> None:
    labels = np.array([4999, 0])
    tracemalloc.start()
    of_class = shares(labels, 5000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (of_class.argmax(axis=1) == labels).all()
    assert of_class.sum() == 2
    assert peak < 1_000_000


def test_colours_change_within_their_ranges() -> None:
    grey = np.full((300, 4, 4, 3), 100, np.uint8)
    brighter = augment_batch(grey, augment(brightness=0.2), rng())
    assert (brighter.min(), brighter.max()) == (80, 120)
    assert (brighter == brighter[:, :1, :1]).all(), "an image changes as a whole"
    np.testing.assert_array_equal(augment_batch(grey, augment(saturation=0.5), rng()), grey)
    middle = np.full((50, 4, 4, 1), 128, np.uint8)
    assert np.ptp(augment_batch(middle, augment(contrast=0.5), rng())) <= 1
    red = np.zeros((300, 4, 4, 3), np.uint8)
    red[..., 0] = 200
    pale = augment_batch(red, augment(saturation=0.5), rng())[:, 0, 0].astype(int)
    assert 30 <= pale[:, 1].max() <= 31, "half of the grey of red: 0.5 · 0.299 · 200, or 0 by saturation"
    assert pale[:, 0].min() == pytest.approx(100 + 30, abs=2)
    assert colour.matrices(augment(), 2, 3, rng())[0].tolist() == np.eye(3, 4).tolist()


def test_cutout_greys_a_square_that_the_border_may_cut() -> None:
    cut = augment_batch(np.zeros((200, 20, 30, 3), np.uint8), augment(cutout=0.5), rng()) == 127
    sizes = cut[..., 0].sum(axis=(1, 2))
    assert sizes.max() == 100
    assert 25 <= sizes.min() < 100
    assert cut.any(axis=0).all(), "some places are never cut out"


@pytest.mark.parametrize("channels", [1, 3])
def test_elastic_moves_are_smooth_and_as_long_as_stated(channels: int) -> None:
    """Of a ramp, whose values say where a pixel comes from: moves of 3 % of 100 pixels, in two directions."""
    ramp = np.broadcast_to(np.arange(50, 150, dtype=np.uint8)[None, :, None], (4, 100, 100, channels))
    changed = augment_batch(ramp.copy(), augment(elastic=0.03), rng()).astype(float)
    inside = (slice(None), slice(20, 80), slice(20, 80), 0)
    moves = changed[inside] - ramp[inside]
    assert np.sqrt((moves**2).mean()) == pytest.approx(3 / np.sqrt(2), rel=0.35)
    # Neighbours move alike.
    assert np.abs(np.diff(moves, axis=1)).max() <= 2
    assert not np.array_equal(changed[0], changed[1])


def test_pca_colour_shifts_a_whole_image_along_the_main_colours() -> None:
    """Krizhevsky et al. 2012: mostly lighter or darker, as the first component is nearly grey."""
    grey = np.full((200, 4, 4, 3), 128, np.uint8)
    changed = augment_batch(grey, augment(pca_colour=0.1), rng()).astype(float)
    assert (changed == changed[:, :1, :1]).all()
    shifts = changed[:, 0, 0] - 128
    assert shifts.std(axis=0) == pytest.approx(255 * 0.1 * 0.2175 * 0.58, rel=0.2)
    assert np.corrcoef(shifts[:, 0], shifts[:, 2])[0, 1] > 0.9
    scans = np.full((2, 4, 4, 1), 128, np.uint8)
    np.testing.assert_array_equal(augment_batch(scans, augment(pca_colour=0.1), rng()), scans)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_labels_are_mixed_by_the_shares_of_the_pixels(name: str) -> None:
    """Black is one class and white the other, so that an image's brightness is its label."""
    classes = np.arange(16) % 2
    pixels = np.zeros((16, 20, 24, 3), np.uint8)
    pixels[classes == 1] = 200
    shares = set()
    for seed in range(8):
        mixed, labels = mix(pixels, np.eye(2, dtype=np.float32)[classes], augment(**{name: 1.0}), rng(seed))
        assert labels.dtype == np.float32
        assert mixed.dtype == np.uint8
        np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(mixed.mean(axis=(1, 2, 3)), 200 * labels[:, 1], atol=0.51)
        shares |= {round(float(entry), 3) for entry in labels[:, 1]}
    assert len(shares) > 8
    assert augment(**{name: 0.2}).soft
    assert not augment(cutout=0.2).soft


def test_mixup_and_cutmix_together_take_turns() -> None:
    pixels = np.zeros((16, 20, 24, 3), np.uint8)
    pixels[::2] = 200
    labels = np.eye(2, dtype=np.float32)[np.arange(16) % 2]
    mixing = augment(mixup=1.0, cutmix=1.0)
    blended = [np.isin(mix(pixels, labels, mixing, rng(seed))[0], [0, 200]).all() for seed in range(20)]
    assert set(blended) == {True, False}


def test_the_same_numbers_make_the_same_images_in_colour_and_in_grey() -> None:
    params = augment(rotation=20.0, shear=8.0, horizontal_flip=True, contrast=0.3, cutout=0.2)
    images = smooth(4)
    once = augment_batch(images, params, rng(5), patch=(20, 20))
    np.testing.assert_array_equal(once, augment_batch(images, params, rng(5), patch=(20, 20)))
    assert not np.array_equal(once, augment_batch(images, params, rng(6), patch=(20, 20)))
    grey = augment_batch(images[..., :1], params, rng(5), patch=(20, 20))
    np.testing.assert_array_equal(grey[..., 0], once[..., 0])


@pytest.mark.parametrize(
    ("name", "rotation", "shift", "shear_radians", "zoom"),
    [
        ("a1", 30, 0.1, 0.2, 0.2),
        ("a2", 10, 0.1, 0, 0),
        ("a3", 20, 0.2, 0.15, 0.15),
        ("a4", 0, 0.1, 0, 0),
        ("a5", 18, 0.2, 0.15, 0.15),
    ],
)
def test_the_books_sets_are_presets(
    name: str, rotation: float, shift: float, shear_radians: float, zoom: float
) -> None:
    with hydra.initialize_config_dir(str(CONF), version_base=None):
        composed = hydra.compose("config", [f"+augment@models.lenet.augment={name}"])
    chosen = Augment.model_validate(OmegaConf.to_container(composed.models.lenet.augment))
    assert (chosen.rotation, chosen.shift, chosen.zoom) == (rotation, shift, zoom)
    assert np.deg2rad(chosen.shear) == pytest.approx(shear_radians, abs=1e-5)
    assert chosen.horizontal_flip
    assert chosen.fill == "nearest"
