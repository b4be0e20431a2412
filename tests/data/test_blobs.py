"""Blobs: an ordinary zip whose members can be read by offset."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from stages.data import blobs
from stages.data.manifest import Row


def test_members_are_found_at_their_offsets_and_by_any_zip_program(tmp_path: Path) -> None:
    members = {f"{number}/ä {number}.png": bytes([number]) * number * 100 for number in range(20)}
    with blobs.create(tmp_path / "images.zip") as add:
        offsets = {name: add(name, data) for name, data in members.items()}
    with blobs.BlobReader(tmp_path / "images.zip") as reader:
        for name, data in members.items():
            assert reader.read(offsets[name], len(data)) == data
    with zipfile.ZipFile(tmp_path / "images.zip") as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == members


def test_the_same_members_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        with blobs.create(tmp_path / name) as add:
            add("one.png", b"1" * 1000)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_run_that_fails_leaves_the_former_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    with blobs.create(path) as add:
        add("one.png", b"1")
    before = path.read_bytes()

    def fail() -> None:
        with blobs.create(path) as add:
            add("two.png", b"2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_one_reader_for_files_and_stored_images(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(b"on disk")
    blob = tmp_path / "images.zip"
    with blobs.create(blob) as add:
        add("first.png", b"another")
        offset = add("one.png", b"stored")
    on_disk = Row("cat/1.png", "cat", "train", "0" * 64, 1, 1, 3, True, None, -1, 7)
    stored = replace(on_disk, path="in/a.tar", offset=offset, bytes=6)
    with blobs.ImageReader(tmp_path, blob) as images:
        assert [images.read(row) for row in (on_disk, stored)] == [b"on disk", b"stored"]
        with pytest.raises(FileNotFoundError):
            images.read(replace(on_disk, path="cat/2.png"))
    for row, content in ((on_disk, b"on disk"), (stored, b"stored")):
        file, start, size = blobs.place(row, tmp_path, blob)
        assert file.read_bytes()[start : start + size] == content
