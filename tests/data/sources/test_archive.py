"""Archives, from tidy to hostile; nothing is ever unpacked."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from stages.common.errors import SourceError
from stages.data.sources import archive, images

Mode = Literal["w", "w:gz", "w:bz2", "w:xz"]
Write = Callable[[Path, dict[str, bytes]], Path]
TIDY = {"set/cat/1.png": b"one", "set/cat/2.png": b"two", "set/dog/3.png": b"three"}


def tar(path: Path, members: dict[str, bytes], mode: Mode = "w") -> Path:
    with tarfile.open(path, mode) as out:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))
    return path


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in members.items():
            out.writestr(name, data)
    return path


def actual(path: Path, pattern: str | None = None) -> dict[str, tuple[str | None, bytes | str | None]]:
    params = archive.Params(kind="archive", path=path, pattern=pattern)
    return {
        image.name: (image.label, image.data if image.problem is None else image.problem)
        for image in images(params)
    }


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_read_whatever_its_compression(tmp_path: Path, mode: Mode) -> None:
    assert actual(tar(tmp_path / "archive", TIDY, mode)) == {
        "set/cat/1.png": ("cat", b"one"),
        "set/cat/2.png": ("cat", b"two"),
        "set/dog/3.png": ("dog", b"three"),
    }


def test_a_zip_gives_the_same(tmp_path: Path) -> None:
    assert actual(packed(tmp_path / "a.zip", TIDY)) == actual(tar(tmp_path / "a.tar", TIDY))


def test_the_file_name_may_tell_the_class(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", {"x/cat.1.png": b"1", "dog.2.png": b"2"})
    assert {name: label for name, (label, _) in actual(path, r"^([a-z]+)\.").items()} == {
        "x/cat.1.png": "cat",
        "dog.2.png": "dog",
    }


def test_backslashes_of_windows_programs_are_folders(tmp_path: Path) -> None:
    assert actual(packed(tmp_path / "a.zip", {"set\\cat\\1.png": b"one"})) == {
        "set/cat/1.png": ("cat", b"one")
    }


def test_hidden_members_are_passed_over(tmp_path: Path) -> None:
    members = {"cat/1.png": b"1", "cat/.DS_Store": b"2", "__MACOSX/cat/._1.png": b"3"}
    assert list(actual(tar(tmp_path / "a.tar", members))) == ["cat/1.png"]


@pytest.mark.parametrize("write", [tar, packed])
def test_members_that_lead_outside_are_names_only(tmp_path: Path, write: Write) -> None:
    members = {"../../cat/1.png": b"1", "/etc/dog/2.png": b"2", "./cat/3.png": b"3"}
    inner = tmp_path / "deep" / "inside"
    inner.mkdir(parents=True)
    assert actual(write(inner / "archive", members)) == {
        "cat/1.png": ("cat", b"1"),
        "etc/dog/2.png": ("dog", b"2"),
        "cat/3.png": ("cat", b"3"),
    }
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [inner / "archive"]


def test_links_and_devices_are_listed_and_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as out:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            entry = tarfile.TarInfo(f"cat/{kind.decode()}.png")
            entry.type, entry.linkname = kind, "/etc/passwd"
            out.addfile(entry)
    assert {reason for _, reason in actual(path).values()} == {
        "a link or device in an archive is not followed"
    }
    assert len(actual(path)) == 3


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", TIDY | {"set/empty/": b""})
    with pytest.raises(SourceError, match=r"class 'set/empty' has no images; delete that folder"):
        actual(path)


def test_one_broken_member_of_a_zip_does_not_hide_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as out:
        out.writestr("cat/1.png", b"first image")
        out.writestr("cat/2.png", b"second image")
    path.write_bytes(path.read_bytes().replace(b"first", b"f1rst"))
    result = actual(path)
    assert "Bad CRC-32" in str(result["cat/1.png"][1])
    assert result["cat/2.png"] == ("cat", b"second image")


def test_an_encrypted_member_is_listed(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", {"cat/1.png": b"1"})
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(data)
    assert "password" in str(actual(path)["cat/1.png"][1])


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_an_archive_that_breaks_off_stops_with_its_name(tmp_path: Path, mode: Mode) -> None:
    path = tar(tmp_path / "archive", {f"cat/{n}.png": bytes(range(256)) * 40 for n in range(20)}, mode)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(SourceError, match="archive cannot be read as tar or zip"):
        actual(path)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_what_follows_the_end_of_an_archive_costs_no_member(tmp_path: Path, mode: Mode) -> None:
    path = tar(tmp_path / "archive", TIDY, mode)
    members = actual(path)
    for rest in (bytes(5000), b"a signature", path.read_bytes()):
        longer = tmp_path / "longer"
        longer.write_bytes(path.read_bytes() + rest)
        assert actual(longer) == members


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("no archive at all")
    with pytest.raises(SourceError, match=r"a\.tar cannot be read as tar or zip"):
        actual(tmp_path / "a.tar")
    with pytest.raises(SourceError, match="missing is not a file; put a tar or zip archive there"):
        actual(tmp_path / "missing")
