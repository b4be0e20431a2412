"""What the worker and the watch on a folder see of files without reading them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.worker.files import Files, write
from tests.paths import ROOT


def test_links_are_followed_and_a_loop_ends(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").touch()
    (tmp_path / "watched").mkdir()
    (tmp_path / "watched" / "link").symlink_to(tmp_path / "images")
    (tmp_path / "watched" / "loop").symlink_to(tmp_path / "watched")
    before = Files(tmp_path / "watched")
    assert before.count == 1
    os.utime(tmp_path / "images" / "1.png", (1, 1))
    assert Files(tmp_path / "watched").digest != before.digest
    nothing = Files(tmp_path / "none")
    assert (nothing.count, nothing.newest) == (0, None)


def test_a_folder_that_is_deleted_meanwhile_counts_as_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.png").touch()
    entries = Path.iterdir

    def deleted_first(path: Path) -> object:
        if path.name == "a":
            path.rmdir()
        return entries(path)

    monkeypatch.setattr(Path, "iterdir", deleted_first)
    assert Files(tmp_path).count == 1


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    for text in ("first", "second"):
        write(tmp_path / "new" / "file.json", text)
        assert (tmp_path / "new" / "file.json").read_text(encoding="utf-8") == text
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.json"]


WRITE = """
import sys
from pathlib import Path
from pipelines.worker.files import write
for _ in range(300):
    write(Path(sys.argv[1]), sys.argv[2] * 100_000)
"""


def test_two_processes_that_write_at_once_leave_a_whole_text(tmp_path: Path) -> None:
    """As two runs that write how long a stage took."""
    path = tmp_path / "seconds" / "train.json"
    words = [sys.executable, "-c", WRITE, str(path)]
    writers = [subprocess.Popen([*words, letter], cwd=ROOT) for letter in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            seen.add(path.read_text(encoding="utf-8"))
    assert [writer.wait() for writer in writers] == [0, 0]
    assert seen | {path.read_text(encoding="utf-8")} == {"a" * 100_000, "b" * 100_000}
    assert [entry.name for entry in path.parent.iterdir()] == ["train.json"]
