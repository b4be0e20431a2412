"""Keras' own sets, from files put where Keras keeps its downloads."""

import gzip
from pathlib import Path

import cv2
import numpy as np
import pytest

from stages.common.errors import SourceError
from stages.data.sources import images, keras_datasets


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from keras.src.backend import config

    # Keras reads KERAS_HOME once, when it is imported.
    monkeypatch.setattr(config, "_KERAS_DIR", str(tmp_path))
    folder = tmp_path / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    return folder


def test_images_come_with_their_class_and_official_split(cache: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 28, 28)).astype(np.uint8)
    for name, start, stop in (("train", 0, 4), ("t10k", 4, 6)):
        for kind, header, data in (
            ("images-idx3", 16, pixels[start:stop].tobytes()),
            ("labels-idx1", 8, bytes(range(start, stop))),
        ):
            (cache / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(bytes(header) + data))
    params = keras_datasets.Params(kind="keras_datasets", path=tmp_path, name="fashion_mnist")
    result = list(images(params))
    assert [(entry.name, entry.label, entry.split) for entry in result[3:5]] == [
        ("train/3/00003.png", "3", "train"),
        ("test/4/00000.png", "4", "test"),
    ]
    for entry, image in zip(result, pixels, strict=True):
        decoded = cv2.imdecode(np.frombuffer(entry.read(), np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(decoded, image)


def test_the_classes_of_cifar10_are_words_in_the_order_of_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starter Bundle ch. 10 lists them. The set is 170 MB: one image of each class is enough here."""
    pixels = np.zeros((10, 32, 32, 3), np.uint8)
    part = pixels, np.arange(10)[:, None]
    monkeypatch.setattr("keras.datasets.cifar10.load_data", lambda: (part, part))
    params = keras_datasets.Params(kind="keras_datasets", path=tmp_path, name="cifar10")
    labels = [entry.label for entry in images(params) if entry.split == "train"]
    assert labels[:3] == ["airplane", "automobile", "bird"]
    assert labels == sorted(labels)  # type: ignore[type-var]
    assert next(iter(images(params))).name == "train/airplane/00000.png"


def test_a_set_that_cannot_be_loaded_is_one_clear_error(cache: Path, tmp_path: Path) -> None:
    for name in ("train-labels-idx1", "train-images-idx3", "t10k-labels-idx1", "t10k-images-idx3"):
        (cache / f"{name}-ubyte.gz").write_text("no gzip")
    params = keras_datasets.Params(kind="keras_datasets", path=tmp_path, name="fashion_mnist")
    with pytest.raises(SourceError, match=r"ingest\.source\.name: keras cannot load fashion_mnist: "):
        list(images(params))
