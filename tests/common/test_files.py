"""Outputs are complete or not there."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.common import files


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.txt"
    with files.replace_atomically(path) as aside:
        aside.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [one.name for one in path.parent.iterdir()] == ["out.txt"]


def test_a_folder_takes_the_place_of_a_full_one(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "old").touch()
    with files.replace_atomically(path) as aside:
        aside.mkdir()
        (aside / "new").touch()
    assert [one.name for one in path.iterdir()] == ["new"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), files.replace_atomically(path) as aside:  # noqa: PT012
        aside.write_text("half")
        _ = 1 / 0
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["out.txt"]


def test_a_killed_process_leaves_no_result_and_the_next_one_starts_clean(tmp_path: Path) -> None:
    path = tmp_path / "out"
    script = (
        "import sys, time; from pathlib import Path; from stages.common.files import replace_atomically\n"
        "with replace_atomically(Path(sys.argv[1])) as aside:\n"
        "    aside.mkdir(); (aside / 'half').touch(); print('ready', flush=True); time.sleep(600)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGKILL)
    assert not path.exists()
    with files.replace_atomically(path) as aside:
        aside.mkdir()
        (aside / "whole").touch()
    assert [one.name for one in path.iterdir()] == ["whole"]
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


def test_removing_a_link_leaves_what_it_points_at(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    files.remove(tmp_path / "link")
    files.remove(tmp_path / "nothing")
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_json_keeps_its_letters_and_ends_with_a_line(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    files.write_json(path, ["Gänse", 1.5])
    assert "Gänse" in path.read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8").endswith("\n")
    assert files.read_json(path) == ["Gänse", 1.5]
    path.write_text("{")
    with pytest.raises(json.JSONDecodeError):
        files.read_json(path)


def test_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.digest(tmp_path / "abc") == expected
