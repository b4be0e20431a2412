"""Batches are the same on any machine, and hold every image once."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stages.common.errors import StoreError
from stages.data import store
from stages.data.augment import Augment
from stages.data.loader import Loader

OFF = yaml.safe_load((Path(__file__).parents[2] / "conf" / "augment" / "base.yaml").read_text())
EVERYTHING = Augment(
    **OFF
    | {"rotation": 30.0, "shift": 0.1, "zoom": 0.2, "horizontal_flip": True, "brightness": 0.2}
    | {"saturation": 0.3, "cutout": 0.3, "mixup": 0.2, "cutmix": 1.0}
)
# 45 of class 0, 4 of class 1, 1 of class 2.
LABELS = np.array([0] * 45 + [1] * 4 + [2])


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[store.Reader]:
    """Fifty images of 12x14; every pixel of image i is i, but for its last channel, its column."""
    pixels = np.zeros((50, 12, 14, 3), np.uint8)
    pixels[..., :2] = np.arange(50)[:, None, None, None]
    pixels[..., 2] = np.arange(14)
    path, classes = tmp_path / "train.h5", {"classes": ["a", "b", "c"]}
    ids = [str(number) for number in range(50)]
    with store.create(path, "images", pixels.shape, np.uint8, ids=ids, provenance=classes) as out:
        out.write(0, pixels)
        out.columns["labels"] = LABELS
    with store.Reader(path) as reader:
        yield reader


def epochs(loader: Loader, count: int = 2) -> list[list[Any]]:
    """What Keras sees: every batch of so many epochs."""
    with loader:
        result = []
        for _ in range(count):
            result.append([loader[number] for number in range(len(loader))])
            loader.on_epoch_end()
        return result


def numbers(batches: list[Any]) -> list[int]:
    """Which images these unaugmented batches hold."""
    return np.concatenate([pixels[:, 0, 0, 0] for pixels, _ in batches]).tolist()


def test_epochs_are_the_same_whatever_the_number_of_workers_and_differ(rows: store.Reader) -> None:
    def run(workers: int, seed: int = 3) -> list[list[Any]]:
        options = {"augment": EVERYTHING, "patch": (9, 10), "workers": workers}
        return epochs(Loader(rows, 8, seed=seed, **options))

    once = run(1)
    for again in (run(1), run(2), run(4)):
        for epoch, same in zip(once, again, strict=True):
            for (pixels, labels), (same_pixels, same_labels) in zip(epoch, same, strict=True):
                np.testing.assert_array_equal(pixels, same_pixels)
                np.testing.assert_array_equal(labels, same_labels)
    assert not np.array_equal(once[0][0][0], once[1][0][0])
    assert not np.array_equal(once[0][0][0], run(1, seed=4)[0][0][0])


@pytest.mark.parametrize("batch_size", [1, 8, 50, 64])
def test_every_image_comes_once_per_epoch_with_its_label(rows: store.Reader, batch_size: int) -> None:
    first, second = epochs(Loader(rows, batch_size, seed=1))
    assert [len(labels) for _, labels in first] == [batch_size] * (50 // batch_size) + (
        [50 % batch_size] if 50 % batch_size else []
    )
    assert sorted(numbers(first)) == sorted(numbers(second)) == list(range(50))
    assert numbers(first) != numbers(second)
    assert np.concatenate([labels for _, labels in first]).tolist() == LABELS[numbers(first)].tolist()


def test_without_a_seed_it_is_the_file_and_its_centre(rows: store.Reader) -> None:
    first, second = epochs(Loader(rows, 8, patch=(5, 5)))
    assert numbers(first) == numbers(second) == list(range(50))
    pixels, labels = first[0]
    assert pixels.shape == (8, 5, 5, 3)
    assert pixels.dtype == np.uint8
    assert labels.dtype == np.int64
    assert pixels[0, 0, :, 2].tolist() == [4, 5, 6, 7, 8]


def test_random_patches_change_from_epoch_to_epoch(rows: store.Reader) -> None:
    first, second = epochs(Loader(rows, 50, seed=1, patch=(5, 5)))
    remaining = [
        dict(zip(numbers(image), image[0][0][:, 0, 0, 2].tolist(), strict=True)) for image in (first, second)
    ]
    assert set(remaining[0].values()) == set(range(10))
    assert remaining[0] != remaining[1]


def test_batches_may_be_read_in_any_order(rows: store.Reader) -> None:
    """Keras looks at the first two before it starts."""
    with Loader(rows, 8, seed=1) as straight, Loader(rows, 8, seed=1) as jumping:
        expected = [straight[number][0] for number in range(7)]
        for number in (0, 1, 0, 6, 3, 3, 5):
            np.testing.assert_array_equal(jumping[number][0], expected[number])


def test_balanced_epochs_have_as_many_images_of_each_class(rows: store.Reader) -> None:
    (first,) = epochs(Loader(rows, 8, seed=1, balanced=True), count=1)
    assert sorted(np.bincount(LABELS[numbers(first)]).tolist()) == [16, 17, 17]


def test_soft_labels_are_shares_of_classes(rows: store.Reader) -> None:
    (first,) = epochs(Loader(rows, 50, soft=True), count=1)
    np.testing.assert_array_equal(first[0][1], np.eye(3, dtype=np.float32)[LABELS])


def test_waiting_is_counted_only_while_training_has_nothing_to_do(rows: store.Reader) -> None:
    with Loader(rows, 10, seed=1) as loader:
        started = time.monotonic()
        for number in range(5):
            loader[number]
        ended = time.monotonic()
        idle, busy = [started] * 5, [ended + number for number in range(5)]
        assert 0 < loader.waited(busy) <= loader.waited(idle) <= ended - started


def test_training_gets_the_epochs_it_asks_for_whatever_keras_does_between(rows: store.Reader) -> None:
    expected = [numbers(batches) for batches in epochs(Loader(rows, 8, seed=1), count=3)]
    with Loader(rows, 8, seed=1) as loader:
        for looked_at in (0, 1):
            loader[looked_at]
        loader.on_epoch_end()
        for epoch in (0, 1, 2, 1):
            loader.begin(epoch)
            assert numbers([loader[number] for number in range(7)]) == expected[epoch]
            loader.on_epoch_end()


def test_a_damaged_image_stops_the_one_who_asks_for_its_batch(rows: store.Reader) -> None:
    with rows.path.open("r+b") as file:
        file.truncate(rows.path.stat().st_size // 2)
    with Loader(rows, 8) as loader, pytest.raises(StoreError, match=r"train\.h5"):
        [loader[number] for number in range(len(loader))]


def test_closing_stops_the_threads(rows: store.Reader) -> None:
    with Loader(rows, 8, workers=3) as loader:
        loader[0]
        assert any(thread.name.startswith("loader") for thread in threading.enumerate())
    assert not any(thread.name.startswith("loader") for thread in threading.enumerate())


class Half:
    """The share of one of two processes; batches of an odd number are whole on both."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.placed: list[int] = []

    def rows(self, images: int) -> slice:
        return slice(None) if images % 2 else slice(self.rank * images // 2, (self.rank + 1) * images // 2)

    def place(self, batch: Any, images: int) -> Any:
        self.placed.append(images)
        return batch


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"horizontal_flip": True, "elastic": 0.05, "pca_colour": 0.1, "cutout": 0.3, "brightness": 0.2},
        {"rotation": 30.0, "shift": 0.1, "resized_crop": 0.5, "contrast": 0.2},
        {"mixup": 0.2, "cutmix": 1.0, "zoom": 0.2},
    ],
)
def test_the_shares_of_two_processes_are_the_batches_of_one(
    rows: store.Reader, changes: dict[str, Any]
) -> None:
    options = {"seed": 3, "patch": (9, 10), "class_weights": np.array([0.5, 1, 2], np.float32)}
    if changes:
        options["augment"] = Augment(**OFF | changes)
    # Eight batches of 6 and one of 2, or seven of 7 and one of 1.
    for size in (6, 7):
        (batches,) = epochs(Loader(rows, size, **options), 1)
        shares = [Half(0), Half(1)]
        first, second = (epochs(Loader(rows, size, **options, share=share), 1)[0] for share in shares)
        assert shares[0].placed == shares[1].placed == [len(batch[0]) for batch in batches]
        for batch, first_share, second_share in zip(batches, first, second, strict=True):
            for array, upper, lower in zip(batch, first_share, second_share, strict=True):
                joined = upper if len(array) % 2 else np.concatenate([upper, lower])
                np.testing.assert_array_equal(joined, array)


def test_class_weights_come_with_the_batch_and_go_by_the_largest_share(rows: store.Reader) -> None:
    weights = np.array([0.25, 3, 10], np.float32)
    (batches,) = epochs(Loader(rows, 50, seed=1, class_weights=weights), 1)
    _, labels, weighted = batches[0]
    np.testing.assert_array_equal(weighted, weights[labels])
    (soft,) = epochs(Loader(rows, 50, seed=1, class_weights=weights, soft=True), 1)
    np.testing.assert_array_equal(soft[0][2], weighted)
