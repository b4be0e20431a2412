"""What is stored is what was added; what is damaged, half-written or too old is not there."""

import errno
import hashlib
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.common.errors import UsageError
from stages.data import results_store
from stages.data.results_store import Results
from tests.paths import ROOT

KILLS = 50
LENGTH = 3_000


def key(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def value(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, LENGTH, np.uint8)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of one kind in a store of this test's own, whose files hold ten rows."""
    monkeypatch.setenv(results_store.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(results_store, "_FILE_BYTES", 10 * LENGTH)
    return tmp_path / "kind-of-test"


def fill(place: Path, numbers: range) -> None:
    results = Results(place)
    for number in numbers:
        results.add(key(number), value(number))
    results.close()


def stored_numbers(place: Path, numbers: range) -> list[int]:
    """The numbers whose stored value is right; a wrong value fails the test."""
    results = Results(place)
    stored = {number: results.get(key(number)) for number in numbers}
    for number, row in stored.items():
        assert row is None or (row == value(number)).all()
    results.close()
    return [number for number, row in stored.items() if row is not None]


def test_a_result_comes_back_in_the_next_run(place: Path) -> None:
    fill(place, range(25))
    assert stored_numbers(place, range(30)) == list(range(25))


def test_another_code_or_param_finds_nothing(place: Path) -> None:
    with results_store.opened("kind", {"code": "a"}) as results:
        results.add(key(1), value(1))
    with results_store.opened("kind", {"code": "b"}) as results:
        assert results.get(key(1)) is None
    with results_store.opened("kind", {"code": "a"}) as results:
        assert results.get(key(1)) is not None


def test_results_are_stored_when_the_stage_fails(place: Path) -> None:
    def fail() -> None:
        with results_store.opened("kind", {}) as results:
            results.add(key(1), value(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with results_store.opened("kind", {}) as results:
        assert results.get(key(1)) is not None


@pytest.mark.parametrize("number", [0, 5, 9])
def test_a_damaged_row_is_never_believed_and_computed_again(place: Path, number: int) -> None:
    fill(place, range(10))
    (file,) = place.glob("*.h5")
    data = bytearray(file.read_bytes())
    data[data.index(value(number).tobytes()) + 7] ^= 1
    file.write_bytes(data)
    assert number not in stored_numbers(place, range(10))
    fill(place, range(10))
    assert stored_numbers(place, range(10)) == list(range(10))


def test_a_damaged_file_of_small_results_is_read_once(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It was read, and warned of, for each of its rows: 160 s for 8,000 of them."""
    with results_store.opened("small", {}) as results:
        for number in range(50):
            results.add(key(number), value(number)[:40])
    (file,) = place.parent.glob("small-*/*.h5")
    data = bytearray(file.read_bytes())
    data[data.index(value(7)[:40].tobytes()) + 3] ^= 1
    file.write_bytes(data)
    with caplog.at_level("WARNING"), results_store.opened("small", {}) as results:
        assert [results.get(key(number)) for number in range(50)] == [None] * 50
    assert caplog.messages == ["removed_damaged_results"]
    assert not file.exists()


def test_a_limit_that_is_no_number_is_refused_before_the_work(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was a ValueError after all work."""
    monkeypatch.setenv(results_store.LIMIT_VARIABLE, "32GiB")
    with (
        pytest.raises(UsageError, match=r"CONVOY_IMAGE_RESULTS_LIMIT is '32GiB'; must be a number of bytes"),
        results_store.opened("kind", {}),
    ):
        pytest.fail("the work began")


def test_small_files_that_may_not_be_removed_end_no_stage(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's, in a shared folder whose files only their owners may remove."""
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".h5":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    for number in range(18):
        fill(place, range(number, number + 1))
    assert stored_numbers(place, range(18)) == list(range(18))


def test_a_row_of_another_image_with_the_same_beginning_of_its_digest_is_not_taken(place: Path) -> None:
    fill(place, range(1))
    second_key = key(0)[:16] + key(1)[16:]
    assert Results(place).get(second_key) is None


@pytest.mark.slow
def test_fifty_kills_leave_only_whole_results(place: Path) -> None:
    context, draw = multiprocessing.get_context("fork"), random.Random(1)
    for _ in range(KILLS):
        child = context.Process(target=fill, args=(place, range(200)))
        child.start()
        child.join(timeout=draw.uniform(0, 0.1))
        child.kill()
        child.join()
        stored_numbers(place, range(200))
    fill(place, range(200))
    assert stored_numbers(place, range(200)) == list(range(200))


@pytest.mark.slow
def test_two_writers_and_a_reader_at_once(place: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=fill, args=(place, range(first, 400, 2))) for first in (0, 1)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        stored_numbers(place, range(400))
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert stored_numbers(place, range(400)) == list(range(400))


def test_a_full_disk_costs_the_results_and_nothing_else(
    place: Path, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = small_disk / "kind"
    with caplog.at_level("WARNING"):
        fill(folder, range(400))
    assert [record.getMessage() for record in caplog.records] == ["stopped_storing_results"]
    stored = stored_numbers(folder, range(400))
    assert 0 < len(stored) < 400
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("free", [4, 16, 28])
def test_an_almost_full_disk_does_not_end_the_process(small_disk: Path, free: int) -> None:
    """HDF5 met the disk's end in its own blocks, and the process ended by SIGSEGV after all work."""
    (small_disk / "other").write_bytes(bytes(shutil.disk_usage(small_disk).free - free * 1024))
    code = (
        "import pathlib; from tests.data.test_results_store import fill;"
        f"fill(pathlib.Path({str(small_disk / 'kind')!r}), range(2_000))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(small_disk.rglob(".*")) == []


def test_the_least_recently_used_results_are_removed_first(place: Path) -> None:
    fill(place, range(10))
    fill(place, range(10, 20))
    for age, file in enumerate(sorted(place.glob("*.h5"), key=lambda file: file.stat().st_mtime)):
        os.utime(file, (1_000 + age, 1_000 + age))
    assert stored_numbers(place, range(1)) == [0]
    results_store.evict(45_000)
    assert stored_numbers(place, range(20)) == list(range(10))


@pytest.mark.parametrize(("days", "remaining"), [(29, "facts"), (31, "resized")])
def test_facts_are_removed_a_month_later_than_pixels(place: Path, days: int, remaining: str) -> None:
    facts, pixels = place.with_name("facts-test"), place.with_name("resized-test")
    for folder, age in ((facts, days), (pixels, 0)):
        fill(folder, range(10))
        (file,) = folder.glob("*.h5")
        os.utime(file, (10**9 - age * 86_400,) * 2)
    results_store.evict(45_000)
    (file,) = place.parent.rglob("*.h5")
    assert file.parent.name == f"{remaining}-test"


def test_files_of_a_killed_writer_are_removed_after_a_day(place: Path) -> None:
    fill(place, range(1))
    abandoned, fresh = place / ".old.h5.part", place / ".new.h5.part"
    for path in (abandoned, fresh):
        path.touch()
    os.utime(abandoned, (1_000, 1_000))
    results_store.evict(2**30)
    assert not abandoned.exists()
    assert fresh.exists()


def test_many_small_files_become_one(place: Path) -> None:
    for number in range(18):
        fill(place, range(number, number + 1))
    assert len(list(place.glob("*.h5"))) < 12
    assert stored_numbers(place, range(18)) == list(range(18))


def test_a_folder_that_cannot_be_written_costs_the_results_and_nothing_else(place: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    place.write_text("no folder")
    fill(place, range(2))
    assert stored_numbers(place, range(2)) == []
