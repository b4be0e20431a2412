"""A folder per class on disk."""

import errno
import os
from pathlib import Path

import pytest

from stages.common.errors import SourceError
from stages.data.sources import folder, images
from stages.tools import predict_image


def result(root: Path) -> dict[str, str | None]:
    return {image.name: image.label for image in images(folder.Params(kind="folder", path=root))}


def test_the_class_is_the_folder_of_an_image(tmp_path: Path) -> None:
    for name in ("cat/b.png", "cat/a.png", "wild/lynx/c.png", "top.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert result(tmp_path) == {
        "top.png": None,
        "cat/a.png": "cat",
        "cat/b.png": "cat",
        "wild/lynx/c.png": "lynx",
    }


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    for name in ("cat/a.png", "cat/.DS_Store", ".git/x.png", "__MACOSX/cat/._a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(result(tmp_path)) == ["cat/a.png"]


@pytest.mark.parametrize(
    "name",
    [
        "Thumbs.db",
        "thumbs.db",
        "desktop.ini",
        "Desktop.ini",
        "._a.png",
        "@eaDir/a.png/x.jpg",
        "$RECYCLE.BIN/a.png",
    ],
)
def test_what_operating_systems_leave_behind_is_passed_over(tmp_path: Path, name: str) -> None:
    for file in ("cat/a.png", f"cat/{name}"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert list(result(tmp_path)) == ["cat/a.png"]
    for pattern in ("", "/*/*", "/**/*"):
        assert [path.name for path in predict_image._list_files(f"{tmp_path}{pattern}")] == ["a.png"]
    assert len(list(predict_image._list_files(f"{tmp_path}/cat/{name}"))) == 1


def test_links_to_files_are_followed(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "elsewhere").write_bytes(b"image")
    (tmp_path / "cat" / "a.png").symlink_to("../elsewhere")
    linked = next(
        image for image in images(folder.Params(kind="folder", path=tmp_path)) if image.name == "cat/a.png"
    )
    assert linked.read() == b"image"


def test_a_class_that_may_not_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was one reject, so that a class of any size was missing. Root may open every folder."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
    scan = os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder).name == "dog":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceError, match="dog cannot be opened: Permission denied"):
        result(tmp_path)


def test_a_missing_folder_and_a_file_instead_of_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere does not exist"):
        result(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="file is not a folder"):
        result(tmp_path / "file")
