"""Archives of every common tool: each member's name, in the encoding that the tool means, kind and place."""

import io
import os
import shutil
import stat
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import pytest

from stages.common.errors import SourceError
from stages.data import store
from stages.data.manifest import Manifest
from stages.data.sources import archive, images
from tests.project import Images, Project, write_images

NAMES = ["cat/1.png", "cat/a (2) & b.png", "Übergröße/ß.png", "犬/三.png", "cat/odd\\name.png"]
CONTENT = {name: name.encode() for name in NAMES}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    for name, data in CONTENT.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / ".DS_Store").write_bytes(b"x")
    (root / "cat" / "Thumbs.db").write_bytes(b"x")
    (root / "cat" / "._1.png").write_bytes(b"x")
    (root / "cat" / "@eaDir" / "1.png").mkdir(parents=True)
    return root


COMMANDS = {
    "tar .": "tar -cf {out} .",
    "tar ustar": "tar --format=ustar -cf {out} .",
    "tar gnu": "tar --format=gnu -cf {out} .",
    "tar pax": "tar --format=posix -cf {out} .",
    "tar old": "tar --format=v7 -cf {out} .",
    "tar sparse": "tar --sparse -czf {out} .",
    "tar names": "tar -cf {out} cat Übergröße 犬",
    "tar volume label": "tar -V label -cJf {out} .",
    "tar lzma": "tar --lzma -cf {out} .",
    "bsdtar": "bsdtar -cf {out} .",
    "bsdtar pax": "bsdtar --format pax -cjf {out} .",
    "bsdtar zip": "bsdtar --format zip -cf {out} .",
    "zip": "zip -qr {out} .",
    "zip without folders": "zip -qrD {out} .",
    "7z zip": "7z a -bd -tzip {out} .",
    "7z tar": "7z a -bd -ttar {out} .",
    "jar": "jar cf {out} .",
}


def read(path: Path, encoding: str | None = None, pattern: str | None = None) -> dict[str, bytes | str]:
    params = archive.Params(kind="archive", path=path, encoding=encoding, pattern=pattern)
    return {image.name: image.problem or image.data or b"" for image in images(params)}


@pytest.mark.parametrize("tool", COMMANDS)
def test_the_archive_of_a_tool_is_the_folder(tool: str, folder: Path, tmp_path: Path) -> None:
    words = COMMANDS[tool].split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed (Debian: bsdtar is in libarchive-tools, 7z in p7zip-full)")
    out = tmp_path / ("archive.zip" if "zip" in tool or tool == "jar" else "archive.tar")
    done = subprocess.run(
        [word.replace("{out}", str(out)) for word in words],
        cwd=folder,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=False,
    )
    if "lzma" in tool and done.returncode:
        pytest.skip("no lzma program is installed (Debian: xz-utils)")
    assert done.returncode == 0, done.stderr
    members = read(out)
    if tool == "jar":
        # Java says that its archives are of DOS, where a backslash is a folder.
        members["cat/odd\\name.png"] = members.pop("cat/odd/name.png")
    assert members == CONTENT


@pytest.mark.parametrize("kind", ["tar", "gztar", "xztar", "zip"])
def test_shutils_archive_of_a_folder(kind: str, folder: Path, tmp_path: Path) -> None:
    assert read(Path(shutil.make_archive(str(tmp_path / "archive"), kind, folder))) == CONTENT


def test_unzip_lists_the_same_names(folder: Path, tmp_path: Path) -> None:
    if not (shutil.which("zip") and shutil.which("unzip")):
        pytest.skip("zip and unzip are not installed")
    out = tmp_path / "archive.zip"
    subprocess.run(
        ["zip", "-qrD", out, *sorted({name.split("/")[0] for name in NAMES})], cwd=folder, check=True
    )
    words = ["unzip", "-Z1", out]
    done = subprocess.run(words, env={**os.environ, "LC_ALL": "C.UTF-8"}, capture_output=True, check=True)
    listed = done.stdout.decode().splitlines()
    assert set(read(out)) == {name for name in listed if not name.endswith(("Thumbs.db", "._1.png"))}


def raw_zip(
    path: Path, name: bytes, *, flag: int = 0, system: int = 0, extra: bytes = b"", mode: int = 0
) -> Path:
    """A zip of one stored member, byte by byte as the tool of another system writes it."""
    data = b"image"
    sizes = struct.pack("<IIIHH", zlib.crc32(data), len(data), len(data), len(name), len(extra))
    local = struct.pack("<4s5H", b"PK\3\4", 20, flag, 0, 0, 33) + sizes + name + extra
    central = struct.pack("<4sBB5H", b"PK\1\2", 20, system, 20, flag, 0, 0, 33) + sizes
    central += struct.pack("<HHHII", 0, 0, 0, mode << 16, 0) + name + extra
    end = struct.pack("<4s4HIIH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local) + len(data), 0)
    path.write_bytes(local + data + central + end)
    return path


def unicode_path(legacy: bytes, name: str) -> bytes:
    content = b"\1" + struct.pack("<I", zlib.crc32(legacy)) + name.encode()
    return struct.pack("<HH", 0x7075, len(content)) + content


ENCODED: dict[str, tuple[bytes, dict[str, object], str | None, str]] = {
    "marked as UTF-8": ("é/1.png".encode(), {"flag": 0x800}, None, "é/1.png"),
    "UTF-8 of macOS": ("e\u0301/1.png".encode(), {"system": 3}, None, "e\u0301/1.png"),
    "Windows, America": ("é/1.png".encode("cp437"), {}, None, "é/1.png"),
    "Windows, Western Europe": ("Ñandú/À.png".encode("cp850"), {}, None, "Ñandú/À.png"),
    "Windows, Russia": ("кот/1.png".encode("cp866"), {}, "cp866", "кот/1.png"),
    "Windows, Japan": ("表/1.png".encode("cp932"), {}, "cp932", "表/1.png"),
    "WinRAR": (b"??/1.png", {"extra": unicode_path(b"??/1.png", "猫/1.png")}, None, "猫/1.png"),
    "backslashes": (b"cat\\1.png", {"system": 0}, None, "cat/1.png"),
    "backslashes and a slash, Windows": (b"set/cat\\1.png", {"system": 0}, None, "set/cat/1.png"),
    "a letter of Unix": (b"cat/a\\1.png", {"system": 3}, None, "cat/a\\1.png"),
}


@pytest.mark.parametrize("case", ENCODED)
def test_names_are_in_the_encoding_that_the_tool_means(case: str, tmp_path: Path) -> None:
    raw, how, encoding, expected = ENCODED[case]
    assert read(raw_zip(tmp_path / "a.zip", raw, **how), encoding) == {expected: b"image"}


def test_a_name_that_only_a_guess_decodes_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read(raw_zip(tmp_path / "a.zip", "é/1.png".encode("cp437")))
    assert caplog.messages == ["guessed_name_encoding"]
    assert read(raw_zip(tmp_path / "b.zip", b"cat/1.png")) == {"cat/1.png": b"image"}
    assert len(caplog.messages) == 1


def test_names_of_a_tar_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as out:
        entry = tarfile.TarInfo("Hündchen/1.png")
        entry.size = 1
        out.addfile(entry, io.BytesIO(b"x"))
    assert read(path, "latin-1") == {"Hündchen/1.png": b"x"}
    with pytest.raises(ValueError, match="not an encoding that Python knows"):
        archive.Params(kind="archive", path=path, encoding="klingon")


def test_kinds_of_members_of_a_zip(tmp_path: Path) -> None:
    link = raw_zip(tmp_path / "link.zip", b"cat/1.png", system=3, mode=stat.S_IFLNK | 0o777)
    assert read(link) == {"cat/1.png": "a link or device in an archive is not followed"}
    folder = raw_zip(tmp_path / "folder.zip", b"cat", system=3, mode=stat.S_IFDIR | 0o755)
    with pytest.raises(SourceError, match="class 'cat' has no images"):
        read(folder)


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = raw_zip(tmp_path / "inner.zip", b"dog/2.png")
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as out:
        for name, data in (("cat/1.png", b"one"), ("cat/z.zip", inner.read_bytes())):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))
    assert read(path) == {"cat/1.png": b"one", "cat/z.zip": inner.read_bytes()}


def test_a_program_that_unpacks_itself_is_a_zip(tmp_path: Path) -> None:
    path = raw_zip(tmp_path / "a.zip", b"cat/1.png")
    path.write_bytes(b"MZ program" + path.read_bytes())
    assert read(path) == {"cat/1.png": b"image"}


@pytest.mark.parametrize(
    ("start", "command"),
    [(b"7z\xbc\xaf\x27\x1c", "7z x"), (b"Rar!\x1a\7", "unrar x"), (b"\x28\xb5\x2f\xfd", "unzstd")],
)
def test_other_archives_are_refused_with_what_unpacks_them(
    start: bytes, command: str, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(start + bytes(1000))
    with pytest.raises(SourceError, match=f"unpack it: {command}"):
        read(tmp_path / "a")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_of_members_with_one_name_the_first_counts(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "tar":
        with tarfile.open(path, "w") as out:
            for data in (b"1", b"2"):
                entry = tarfile.TarInfo("cat/1.png")
                entry.size = 1
                out.addfile(entry, io.BytesIO(data))
    else:
        with zipfile.ZipFile(path, "w") as out:
            out.writestr("cat/1.png", b"1")
            with pytest.warns(UserWarning, match="Duplicate name"):
                out.writestr("cat/1.png", b"2")
    params = archive.Params(kind="archive", path=path)
    assert [(image.data, image.problem) for image in images(params)] == [
        (b"1", None),
        (b"2", "the archive has another member of this name"),
    ]


def test_sparse_members_have_their_holes(tmp_path: Path) -> None:
    if shutil.which("tar") is None:
        pytest.skip("GNU tar is not installed")
    (tmp_path / "cat").mkdir()
    with (tmp_path / "cat" / "1.png").open("wb") as file:
        file.write(b"start")
        file.seek(1_000_000)
        file.write(b"end")
    for kind in ("gnu", "posix"):
        words = ["tar", "--sparse", f"--format={kind}", "-cf", "a.tar", "cat"]
        subprocess.run(words, cwd=tmp_path, check=True)
        assert (tmp_path / "a.tar").stat().st_size < 100_000
        expected = b"start" + bytes(999_995) + b"end"
        assert read(tmp_path / "a.tar") == {"cat/1.png": expected}


def test_a_bomb_is_listed_and_not_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("cat/1.png", bytes(2**27))
    assert "an archive bomb" in str(read(tmp_path / "a.zip")["cat/1.png"])


def test_an_archive_of_the_folder_itself_goes_through_ingest(project: Project, images: Images) -> None:
    write_images(project.source, {"cat": 5, "dog": 5})
    path = Path(shutil.make_archive(str(project.root / "set"), "tar", project.source))
    project.ingest(archive.Params(kind="archive", path=path))
    project.resize()
    labels = Manifest.read(project.manifest).strings("label").tolist()
    assert Counter(labels) == {"cat": 5, "dog": 5}
    with store.Reader(project.resized) as resized:
        assert len(resized) == 10
