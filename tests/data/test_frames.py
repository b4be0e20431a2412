"""Frames of a film in several splits are found; numbered photographs are no film."""

from dataclasses import replace

import numpy as np

from stages.data.frames import films_across_splits
from stages.data.manifest import SPLITS, Row, Split

ROW = Row("", "cat", "train", "", 1, 1, 3, True, None, -1, 1)


def rows(hashes: np.ndarray, name: str = "film/frame_{:05d}.png") -> list[Row]:
    return [
        replace(ROW, path=name.format(number), sha256=f"{name}{number}", phash=int(value))
        for number, value in enumerate(hashes)
    ]


def in_random_splits(images: list[Row], draw: np.random.Generator) -> dict[str, Split]:
    chosen = draw.choice(3, len(images), p=[0.7, 0.15, 0.15])
    return {row.sha256: SPLITS[split] for row, split in zip(images, chosen, strict=True)}


def film(length: int, changes: int, draw: np.random.Generator) -> np.ndarray:
    """Each frame's hash differs from the last one's in about `changes` bits."""
    hashes = [int(draw.integers(0, 2**64, dtype=np.uint64))]
    for _ in range(length - 1):
        flipped = sum(1 << int(bit) for bit in draw.choice(64, changes, replace=False))
        hashes.append(hashes[-1] ^ flipped)
    return np.asarray(hashes, np.uint64)


def test_a_film_in_several_splits_is_found() -> None:
    for seed in range(50):
        draw = np.random.default_rng(seed)
        images = rows(film(100, 8, draw))
        (film_found,) = films_across_splits(images, in_random_splits(images, draw))
        assert film_found.first == "film/frame_00000.png"
        assert film_found.images == 100


def test_numbered_photographs_are_no_film() -> None:
    """Of 500 series of random images, none is called a film."""
    called = 0
    for seed in range(500):
        draw = np.random.default_rng(seed)
        images = rows(draw.integers(0, 2**64, int(draw.integers(20, 200)), dtype=np.uint64))
        called += len(films_across_splits(images, in_random_splits(images, draw)))
    assert called == 0


def test_a_film_in_one_split_is_right() -> None:
    images = rows(film(100, 8, np.random.default_rng(0)))
    assert films_across_splits(images, dict.fromkeys((row.sha256 for row in images), "train")) == []


def test_images_of_one_look_are_no_film() -> None:
    """Faces cut out alike resemble one another, neighbours no more than others."""
    draw = np.random.default_rng(0)
    base = int(draw.integers(0, 2**64, dtype=np.uint64))
    hashes = [base ^ sum(1 << int(bit) for bit in draw.choice(64, 6, replace=False)) for _ in range(200)]
    images = rows(np.asarray(hashes, np.uint64))
    assert films_across_splits(images, in_random_splits(images, draw)) == []
