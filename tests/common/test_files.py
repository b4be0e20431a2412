"""Outputs are complete or not there."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from stages.common import files
from stages.common.errors import OutputError
from tests.paths import ROOT


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.txt"
    with files.replace_atomically(path) as partial:
        partial.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [file.name for file in path.parent.iterdir()] == ["out.txt"]


def test_a_folder_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for name in ("old.h5", "new.h5"):
        with files.replace_folder_atomically(path, ["*.h5"]) as partial:
            (partial / name).touch()
    assert [file.name for file in path.iterdir()] == ["new.h5"]
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_failure_leaves_the_earlier_output(tmp_path: Path, is_folder: bool) -> None:
    path = tmp_path / "out"
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        for divisor in (1, 0):
            if is_folder:
                with files.replace_folder_atomically(path, ["*.txt"]) as partial:
                    (partial / "a.txt").write_text(f"{divisor}")
                    _ = 1 / divisor
            else:
                with files.replace_atomically(path) as partial:
                    partial.write_text(f"{divisor}")
                    _ = 1 / divisor
    assert (path / "a.txt" if is_folder else path).read_text() == "1"
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    "precious",
    ["notes.txt", "train.h5.bak", "deep/er/train.h5", ".hidden", "link"],
)
def test_a_folder_with_a_file_of_others_is_kept(tmp_path: Path, precious: str) -> None:
    path = tmp_path / "home"
    (path / precious).parent.mkdir(parents=True)
    (path / "train.h5").write_text("mine")
    if precious == "link":
        (path / precious).symlink_to(tmp_path)
    else:
        (path / precious).write_text("mine")
    before = sorted(path.rglob("*"))
    with (
        pytest.raises(OutputError, match=rf"home holds {precious}, which this command does not write"),
        files.replace_folder_atomically(path, ["train.h5"]),
    ):
        pytest.fail("the work began")
    assert sorted(path.rglob("*")) == before
    assert (path / "train.h5").read_text() == "mine"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["home"]


PNG, HDF5, ZIP = b"\x89PNG\r\n\x1a\n", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
KINDS = [
    ("out.h5", HDF5),
    ("out.png", PNG),
    ("out.zip", ZIP),
    ("out.parquet", b"PAR1"),
    ("out.json", b'{\n  "a": 1\n}\n'),
    ("out.html", b"<!doctype html>"),
    ("out.csv", b"path,reason\n1,2\n"),
]


@pytest.mark.parametrize(("name", "content"), KINDS)
@pytest.mark.parametrize("other", [b"# Read me\n", b"path,label\n", *(content for _, content in KINDS)])
def test_a_file_replaces_its_own_kind_only(tmp_path: Path, name: str, content: bytes, other: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(other + b" rest")
    same = other.splitlines()[:1] == content.splitlines()[:1]
    expected = nullcontext() if same else pytest.raises(OutputError, match="is no earlier output")
    with expected, files.replace_atomically(path) as partial:
        partial.write_bytes(content)
    assert path.read_bytes() == (content if same else other + b" rest")
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_an_empty_file_and_an_empty_folder_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "file.json").touch()
    files.write_json(tmp_path / "file.json", [])
    assert files.read_json(tmp_path / "file.json") == []
    (tmp_path / "folder" / "empty").mkdir(parents=True)
    with files.replace_folder_atomically(tmp_path / "folder", []) as partial:
        (partial / "new").touch()
    assert (tmp_path / "folder" / "new").exists()


def test_a_file_of_zeros_is_replaced(tmp_path: Path) -> None:
    """A power cut leaves them. A file that only begins with zeros is a person's."""
    path = tmp_path / "spec.json"
    path.write_bytes(bytes(3_000_000))
    files.write_json(path, {"epochs": 3})
    assert files.read_json(path) == {"epochs": 3}
    path.write_bytes(bytes(3_000_000) + b"1")
    with pytest.raises(OutputError, match="is no earlier output"):
        files.write_json(path, {"epochs": 4})


def test_a_file_is_no_folder_and_a_folder_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(OutputError, match="file is a file; the output is a folder"),
        files.replace_folder_atomically(tmp_path / "file", ["*"]),
    ):
        pytest.fail("the work began")
    with (
        pytest.raises(OutputError, match="folder is a folder; the output is a file"),
        files.replace_atomically(tmp_path / "folder"),
    ):
        pytest.fail("the work began")
    assert (tmp_path / "file").read_text() == "mine"


REPLACE = """
import os, pathlib, shutil, sys
from stages.common import files

folder, steps = pathlib.Path(sys.argv[1]), int(sys.argv[2])
calls = 0

def counted(function):
    def call(*arguments, **options):
        global calls
        if calls == steps:
            os.kill(os.getpid(), 9)
        calls += 1
        return function(*arguments, **options)
    return call

os.rename, os.unlink, os.rmdir, os.mkdir = map(counted, (os.rename, os.unlink, os.rmdir, os.mkdir))
shutil.rmtree.avoids_symlink_attacks = False
shutil._use_fd_functions = False
with files.replace_folder_atomically(folder, ["*.h5"]) as partial:
    for name in "abc":
        (partial / f"{name}.h5").write_text("new")
"""


def read_all(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_a_kill_at_any_step_never_leaves_half_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "out"
    old, new = ({f"{name}.h5": text for name in "abc"} for text in ("old", "new"))
    states: list[dict[str, str] | None] = []
    finished = False
    while not finished:
        shutil.rmtree(tmp_path)
        path.mkdir(parents=True)
        for name, text in old.items():
            (path / name).write_text(text)
        words = [sys.executable, "-c", REPLACE, str(path), str(len(states))]
        finished = subprocess.run(words, cwd=ROOT, check=False).returncode == 0
        states.append(read_all(path) if path.exists() else None)
        assert states[-1] in (old, new, None)
        # The next call finds whole outputs only, and leaves nothing behind.
        with pytest.raises(ZeroDivisionError), files.replace_folder_atomically(path, ["*.h5"]):
            _ = 1 / 0
        assert read_all(path) in (old, new)
        assert [file.name for file in tmp_path.iterdir()] == ["out"]
    assert states[0] == old
    assert states[-1] == new
    assert None in states, "the one moment between two renames"
    assert len(states) > 6


def test_a_killed_process_leaves_no_result_and_the_next_one_starts_clean(tmp_path: Path) -> None:
    path = tmp_path / "out"
    script = (
        "import sys, time; from pathlib import Path; from stages.common import files\n"
        "with files.replace_folder_atomically(Path(sys.argv[1]), ['*']) as partial:\n"
        "    (partial / 'half').touch(); print('ready', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGKILL)
    assert not path.exists()
    with files.replace_folder_atomically(path, ["*"]) as partial:
        (partial / "whole").touch()
    assert [file.name for file in path.iterdir()] == ["whole"]
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_removing_a_link_leaves_what_it_points_at(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    files.remove(tmp_path / "link")
    files.remove(tmp_path / "nothing")
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


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
