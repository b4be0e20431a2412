"""Arrays in .npz and HDF5 files."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest

from stages.common.errors import SourceError
from stages.data.sources import Image, arrays, images
from tests.data import fuzz_seeds


def result(path: Path, **names: str) -> list[Image]:
    return list(images(arrays.Params(kind="arrays", path=path, **names)))


def written(path: Path, **named: Any) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **named)
    else:
        with h5py.File(path, "w") as file:
            file.update(named)
    return path


def pixels_of(image: Image) -> np.ndarray:
    result = cv2.imdecode(np.frombuffer(image.read(), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert result is not None
    return result


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_every_row_is_an_image_with_its_label(tmp_path: Path, name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (150, 5, 4, 3)).astype(np.uint8)
    labels = np.arange(150) % 7
    outputs = result(written(tmp_path / name, images=images, labels=labels[:, None]))
    assert [entry.label for entry in outputs] == [str(label) for label in labels]
    assert outputs[149].name == "2/0000149.png"
    for entry, image in zip(outputs, images, strict=True):
        np.testing.assert_array_equal(pixels_of(entry), image)


@pytest.mark.parametrize("shape", [(3, 6, 5), (3, 6, 5, 1)])
def test_gray_images_stay_gray(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    (first, *_) = result(written(tmp_path / "a.npz", x=images, y=np.zeros(3)), images="x", labels="y")
    decoded = cv2.imdecode(np.frombuffer(first.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, images[0].reshape(6, 5))


@pytest.mark.parametrize(("name", "words"), [("a.npz", ["große Katze", "Hund"]), ("a.h5", [b"cat", b"dog"])])
def test_labels_may_be_words(tmp_path: Path, name: str, words: list[str] | list[bytes]) -> None:
    outputs = result(written(tmp_path / name, images=np.zeros((2, 4, 4), np.uint8), labels=np.asarray(words)))
    expected = [word.decode() if isinstance(word, bytes) else word for word in words]
    assert [entry.label for entry in outputs] == expected


@pytest.mark.parametrize("seed", range(6))
def test_of_a_damaged_file_come_images_or_one_clear_error(tmp_path: Path, seed: int) -> None:
    """zlib, zipfile and HDF5 raise errors of many types. Some damage is to bytes that nothing checks."""
    path, data = tmp_path / "arrays", fuzz_seeds.arrays()[seed]
    for place in range(0, len(data), 16):
        path.write_bytes(data[:place] + bytes([255]) * 8 + data[place + 8 :])
        with suppress(SourceError):
            result(path)


def zipped_zeros(path: Path) -> None:
    np.savez_compressed(path, images=np.zeros((300, 1024, 1024), np.uint8), labels=np.arange(300))


def chunks_never_written(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("images", (300, 1024, 1024), "u1", chunks=(1, 1024, 1024))
        file["labels"] = np.arange(300)


@pytest.mark.parametrize(("name", "write"), [("a.npz", zipped_zeros), ("a.h5", chunks_never_written)])
def test_a_small_file_of_large_arrays_is_refused(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    write(tmp_path / name)
    assert (tmp_path / name).stat().st_size < 2**20
    with pytest.raises(SourceError, match="an archive bomb"):
        next(images(arrays.Params(kind="arrays", path=tmp_path / name)))


def test_what_is_missing_or_wrong_is_named(tmp_path: Path) -> None:
    good = np.zeros((2, 4, 4), np.uint8)
    with pytest.raises(SourceError, match="has no array 'images'; it has pixels, labels"):
        result(written(tmp_path / "a.npz", pixels=good, labels=[0, 1]))
    with pytest.raises(SourceError, match=r"is float64 \(2, 4, 4\); must be uint8"):
        result(written(tmp_path / "b.npz", images=good / 255, labels=[0, 1]))
    with pytest.raises(SourceError, match=r"is uint8 \(2, 0, 4\); must be .* no side 0"):
        result(written(tmp_path / "f.npz", images=good[:, :0], labels=[0, 1]))
    with pytest.raises(SourceError, match=r"must be one label for each of the 2 images"):
        result(written(tmp_path / "c.h5", images=good, labels=np.zeros(3)))
    np.save(tmp_path / "d.npy", good)
    with pytest.raises(SourceError, match=r"d\.npy cannot be read as \.npz or HDF5: it is neither"):
        result(tmp_path / "d.npy")
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["images/train"] = good
    with pytest.raises(SourceError, match="has no array 'images'; it has images"):
        result(tmp_path / "e.h5")


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot be read as \.npz or HDF5: .*No such file"):
        result(tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_text("no arrays")
    with pytest.raises(SourceError, match=r"text\.npz cannot be read as \.npz or HDF5"):
        result(tmp_path / "text.npz")
    written(tmp_path / "a.npz", images=np.zeros((9, 40, 40), np.uint8), labels=np.zeros(9))
    (tmp_path / "half.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:7000])
    with pytest.raises(SourceError, match=r"half\.npz cannot be read"):
        result(tmp_path / "half.npz")


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.asarray([{"a": 1}], object), labels=np.zeros(1))
    with pytest.raises(SourceError, match="allow_pickle"):
        result(tmp_path / "a.npz")
