import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from stages.common.errors import StoreError
from stages.data import store
from tests.paths import ROOT

IDS = [f"{number:016x}" for number in range(50)]


def images(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (len(IDS), 7, 5, 3), dtype=np.uint8)


def write(path: Path, rows: NDArray[np.uint8]) -> Path:
    with store.create(path, "images", rows.shape, "u1", ids=IDS, provenance={"a": "ü"}) as out:
        out.write(20, rows[20:])
        out.write(0, rows[:20])
        out.columns["labels"] = np.arange(len(rows))
    return path


def flip_a_bit(path: Path, row: int) -> None:
    with h5py.File(path) as file:
        place = file["images"].id.get_offset() + row * 7 * 5 * 3 + 11
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_rows_come_back_in_any_order(tmp_path: Path) -> None:
    rows = images()
    with store.Reader(write(tmp_path / "a.h5", rows)) as reader:
        numbers = [49, 0, 7, 7, 20]
        assert np.array_equal(reader.take(numbers), rows[numbers])
        assert np.array_equal(reader.read(3, 9), rows[3:9])
        assert np.array_equal(np.concatenate(list(reader.batches(16))), rows)
        assert reader.ids.tolist() == IDS
        assert reader.provenance == {"a": "ü"}
        assert reader.column("labels").tolist() == list(range(50))


def test_other_programs_read_it_as_plain_hdf5(tmp_path: Path) -> None:
    rows = images()
    with h5py.File(write(tmp_path / "a.h5", rows)) as file:
        assert np.array_equal(file["images"][:], rows)


def test_threads_may_write_and_read_different_rows(tmp_path: Path) -> None:
    rows = images()
    path = tmp_path / "a.h5"
    with (
        store.create(path, "images", rows.shape, "u1", ids=IDS, provenance={}) as out,
        ThreadPoolExecutor(8) as pool,
    ):
        list(pool.map(lambda number: out.write(number, rows[number : number + 1]), range(len(rows))))
    with store.Reader(path) as reader, ThreadPoolExecutor(8) as pool:
        result = list(pool.map(lambda number: reader.take([number])[0], range(len(rows))))
    assert np.array_equal(np.stack(result), rows)


def test_the_same_rows_give_the_same_bytes_at_any_time(tmp_path: Path) -> None:
    first = write(tmp_path / "a.h5", images())
    # HDF5 can stamp every object with the second it was made in.
    began = time.time()
    while int(time.time()) == int(began):
        pass
    assert first.read_bytes() == write(tmp_path / "b.h5", images()).read_bytes()


def test_a_flipped_bit_is_found_and_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", images())
    flip_a_bit(path, row=33)
    with store.Reader(path) as reader:
        reader.read(0, 33)
        with pytest.raises(StoreError, match=rf"row 33 \(image {IDS[33]}\) is damaged"):
            reader.take([2, 33])


def test_the_names_of_labels_are_text_for_any_program(tmp_path: Path) -> None:
    classes = ["Kätzchen", "dog"]
    with store.create(
        tmp_path / "a.h5", "images", (2, 1), np.uint8, ids=["a", "b"], provenance={"classes": classes}
    ) as out:
        out.columns["labels"] = np.array([1, 0])
        out.write(0, np.zeros((2, 1), np.uint8))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["label_names"].asstr()[:].tolist() == classes
    with store.Reader(tmp_path / "a.h5") as reader:
        assert reader.column("labels").tolist() == [1, 0]


@pytest.mark.parametrize("name", ["ids", "labels", "checksums"])
def test_a_flipped_bit_beside_the_rows_is_found_when_the_file_is_opened(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.h5", images())
    with h5py.File(path) as file:
        place = file[name].id.get_offset() + 40
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"a\.h5: ids, labels or other columns are damaged: wrong checksum"):
        store.Reader(path)


def test_damage_anywhere_is_a_store_error_or_costs_nothing(tmp_path: Path) -> None:
    """HDF5 raises errors of several types for damage to its own structures."""
    path = write(tmp_path / "a.h5", images())
    data = path.read_bytes()
    refused = 0
    for place in range(0, len(data), 16):
        path.write_bytes(data[:place] + bytes(8) + data[place + 8 :])
        try:
            with store.Reader(path) as reader:
                assert np.array_equal(reader.read(0, len(reader)), images())
                assert reader.ids.tolist() == IDS
                assert reader.column("labels").tolist() == list(range(50))
        except StoreError:
            refused += 1
    assert refused > len(data) / 64


def test_changed_provenance_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", images())
    with h5py.File(path, "r+") as file:
        file.attrs["provenance"] = '{"a": "b"}'
    with pytest.raises(StoreError, match="are damaged"):
        store.Reader(path)


def test_a_file_of_the_first_format_is_read(tmp_path: Path) -> None:
    """It has no version and no checksum of ids and columns."""
    path = write(tmp_path / "a.h5", images())
    with h5py.File(path, "r+") as file:
        del file.attrs["format"], file.attrs["rest_checksum"]
    with store.Reader(path) as reader:
        assert np.array_equal(reader.read(0, len(reader)), images())
        assert reader.ids.tolist() == IDS


def test_a_file_of_a_later_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", images())
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = 3
        # A later format may have other datasets.
        del file["checksums"]
    with pytest.raises(StoreError, match=r"is of format 3, this code reads up to 2; .* run its stage again"):
        store.Reader(path)


def test_a_compressed_file_of_an_older_version_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", images())
    with h5py.File(path, "r+") as file:
        rows = file["images"][:]
        del file["images"]
        file.create_dataset("images", data=rows, chunks=(1, *rows.shape[1:]), compression="gzip")
    with pytest.raises(
        StoreError, match=r"a\.h5 is compressed, as older versions wrote it; run its stage again"
    ):
        store.Reader(path)


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", images())
    before = path.read_bytes()
    rows = images(seed=1)
    with pytest.raises(RuntimeError), store.create(path, "images", rows.shape, "u1", ids=IDS, provenance={}):
        raise RuntimeError
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize("spoil", ["missing", "text", "foreign", "unfinished", "cut"])
def test_what_create_did_not_finish_is_refused(tmp_path: Path, spoil: str) -> None:
    path = write(tmp_path / "a.h5", images())
    if spoil == "missing":
        path.unlink()
    elif spoil == "text":
        path.write_text("no images")
    elif spoil == "foreign":
        with h5py.File(path, "w") as file:
            file["images"] = images()
    elif spoil == "unfinished":
        with h5py.File(path, "r+") as file:
            del file.attrs["complete"]
    else:
        path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(StoreError, match=r"a\.h5"), store.Reader(path) as reader:
        reader.read(0, len(reader))


def test_rows_outside_the_file_are_an_error(tmp_path: Path) -> None:
    with store.Reader(write(tmp_path / "a.h5", images())) as reader:
        with pytest.raises(IndexError):
            reader.take([50])
        with pytest.raises(IndexError):
            reader.take([-1])


def test_rows_of_another_shape_or_type_are_refused(tmp_path: Path) -> None:
    rows = images()
    with store.create(tmp_path / "a.h5", "images", rows.shape, "u1", ids=IDS, provenance={}) as out:
        out.write(0, rows)
        with pytest.raises(ValueError, match="rows are"):
            out.write(0, rows[:, :3])
        with pytest.raises(ValueError, match="rows are"):
            out.write(0, rows.astype(np.float32))


FILLED = """
import pathlib, shutil, sys
import numpy as np
from stages.data import store

disk = pathlib.Path(sys.argv[1])
ids = [f"{number:016x}" for number in range(5_000)]
try:
    with store.create(disk / "a.h5", "images", (5_000, 4), "u1", ids=ids, provenance={}) as out:
        out.write(0, np.ones((5_000, 4), np.uint8))
        (disk / "other").write_bytes(bytes(shutil.disk_usage(disk).free))
except OSError as error:
    print(error.strerror)
"""


def test_a_disk_that_others_fill_meanwhile_is_one_error(small_disk: Path) -> None:
    """HDF5 raised another one, and the process ended by SIGSEGV."""
    command = [sys.executable, "-c", FILLED, str(small_disk)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "No space left on device\n")
    assert [path.name for path in small_disk.iterdir()] == ["other"]
