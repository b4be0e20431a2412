"""Rows in several files behind one index: read as if they were one file's."""

import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from stages.common.errors import StoreError
from stages.data import store
from stages.data.loader import Loader
from stages.data.store import Reader

ROWS = np.random.default_rng(1).integers(0, 256, (23, 4, 5, 3), np.uint8)
LABELS = np.arange(23) % 3
PROVENANCE = {"classes": ["cat", "dog", "panda"], "split": "train"}


def write(path: Path, start: int, stop: int, rows: np.ndarray = ROWS) -> Path:
    ids = [f"image-{number}" for number in range(start, stop)]
    shape = (stop - start, *rows.shape[1:])
    with store.create(path, "images", shape, np.uint8, ids=ids, provenance=PROVENANCE) as out:
        out.write(0, rows[start:stop])
        out.columns["labels"] = LABELS[start:stop]
    return path


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Three parts of 10, 10 and 3 rows behind train.h5."""
    files = [
        write(tmp_path / f"train-{number}.h5", start, stop)
        for number, (start, stop) in enumerate([(0, 10), (10, 20), (20, 23)])
    ]
    store.join(tmp_path / "train.h5", files)
    return tmp_path / "train.h5"


def test_an_index_is_read_as_one_file(index: Path, tmp_path: Path) -> None:
    single_file = write(tmp_path / "single.h5", 0, 23)
    with Reader(index) as parts, Reader(single_file) as single:
        assert (parts.shape, parts.dtype, parts.key) == (single.shape, single.dtype, single.key)
        assert parts.provenance == single.provenance
        np.testing.assert_array_equal(parts.ids, single.ids)
        np.testing.assert_array_equal(parts.column("labels"), LABELS)
        parts.prefetch(5, 23)
        np.testing.assert_array_equal(parts.read(0, 99), ROWS)
        np.testing.assert_array_equal(parts.read(8, 21), ROWS[8:21])
        numbers = [22, 0, 9, 10, 19, 20]
        np.testing.assert_array_equal(parts.take(numbers), ROWS[numbers])
        with Loader(parts, 8, seed=1) as batches, Loader(single, 8, seed=1) as expected:
            for number in range(len(batches)):
                for array, wanted in zip(batches[number], expected[number], strict=True):
                    np.testing.assert_array_equal(keras.ops.convert_to_numpy(array), wanted)


def test_a_copied_folder_is_complete_also_for_other_programs(index: Path, tmp_path: Path) -> None:
    """DVC restores an output file by file into another folder."""
    folder = Path(shutil.copytree(tmp_path, tmp_path / "elsewhere"))
    for path in (index, *tmp_path.glob("train-*.h5")):
        path.unlink()
    with Reader(folder / "train.h5") as rows:
        np.testing.assert_array_equal(rows.read(0, 23), ROWS)
    with h5py.File(folder / "train.h5") as file:
        np.testing.assert_array_equal(file["images"][:], ROWS)
        assert list(file["label_names"].asstr()) == PROVENANCE["classes"]


def test_a_damaged_row_a_missing_and_another_part_are_errors(index: Path, tmp_path: Path) -> None:
    part = tmp_path / "train-1.h5"
    with h5py.File(part, "r") as file:
        place = file["images"].id.get_offset()
    intact = part.read_bytes()
    part.write_bytes(intact[:place] + b"\0\0\0\0" + intact[place + 4 :])
    with Reader(index) as rows:
        rows.read(0, 10)
        with pytest.raises(StoreError, match=r"row 10 \(image image-10\) is damaged"):
            rows.read(0, 23)
    write(part, 10, 19)
    with pytest.raises(StoreError, match=r"its part train-1.h5 has other rows than the index says"):
        Reader(index)
    part.unlink()
    with pytest.raises(StoreError, match=r"its part train-1.h5 does not exist"):
        Reader(index)


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "a.h5", 0, 10)
    other = write(tmp_path / "b.h5", 0, 10, ROWS[:, :2])
    with pytest.raises(StoreError, match="its parts differ in folder, shape, type or provenance"):
        store.join(tmp_path / "train.h5", [first, other])
    assert not (tmp_path / "train.h5").exists()


@pytest.mark.parametrize("name", ["../secret.h5", "/etc/passwd", "."])
def test_an_index_reads_no_file_of_another_folder(index: Path, name: str) -> None:
    with h5py.File(index, "r+") as file:
        del file["images"]
        layout = h5py.VirtualLayout(ROWS.shape, ROWS.dtype)
        layout[:] = h5py.VirtualSource(name, "images", ROWS.shape)
        file.create_virtual_dataset("images", layout)
    with pytest.raises(StoreError, match="must be a file in the same folder"):
        Reader(index)
