"""How a path of images is recognized, and what is counted, before anything is decoded."""

import io
import tarfile
import unicodedata
import zipfile
from pathlib import Path
from typing import Literal

import pytest

from stages.common.errors import SourceError
from stages.data import layout


def files(root: Path, *names: str) -> Path:
    """Files that are no images: a recognizer that decoded one would fail."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not decoded")
    return root


def test_a_folder_per_class(tmp_path: Path) -> None:
    root = files(tmp_path / "My images äöü", "cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "Thumbs.db")
    recognized = layout.recognize(root)
    assert (recognized.kind, recognized.split, recognized.path) == ("folder", "content", root)
    assert layout.count(recognized.params()).by_class == {"cat": 2, "dog": 1}


def test_a_class_in_both_forms_of_unicode_is_one_class_as_for_ingest(tmp_path: Path) -> None:
    """macOS writes names decomposed; `make run DATA=` refused a class with one image of there."""
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    names = (f"{composed}/1.jpg", f"{composed}/2.jpg", f"{decomposed}/3.jpg", "dog/1.jpg")
    recognized = layout.recognize(files(tmp_path, *names))
    assert layout.count(recognized.params()).by_class == {composed: 3, "dog": 1}


def test_split_folders(tmp_path: Path) -> None:
    root = files(tmp_path, *(f"{split}/{name}/1.png" for split in ("Train", "test") for name in ("a", "b")))
    recognized = layout.recognize(root)
    assert (recognized.kind, recognized.split) == ("folder", "from_path")
    assert layout.count(recognized.params()).by_split == {"train": 2, "test": 2}


@pytest.mark.parametrize(
    ("names", "flat", "kind"),
    [
        # As Kaggle has them: classes in the names, or in train alone.
        (["train/cat.1.jpg", "train/cat.2.jpg", "train/dog.1.jpg", "train/dog.2.jpg"], "test", "filename"),
        (["train/cat/1.jpg", "train/cat/2.jpg", "train/dog/1.jpg", "train/dog/2.jpg"], "test", "folder"),
        (["Train/cat/1.jpg", "Train/dog/1.jpg"], "Validation", "folder"),
    ],
)
def test_a_folder_named_as_a_split_is_no_class(
    tmp_path: Path, names: list[str], flat: str, kind: str
) -> None:
    root = files(tmp_path, *names, f"{flat}/1.jpg", f"{flat}/2.jpg")
    train = root / names[0].partition("/")[0]
    with pytest.raises(SourceError, match=rf"is named as a split and .* name {train} alone"):
        layout.recognize(root)
    recognized = layout.recognize(train)
    assert recognized.kind == kind
    assert list(layout.count(recognized.params()).by_class) == ["cat", "dog"]


@pytest.mark.parametrize(
    "names",
    [
        ["cat.1.jpg", "cat.2.jpg", "dog.1.jpg", "dog.2.jpg"],
        ["tabby_cat_001.jpg", "tabby_cat_002.jpg", "dog (1).jpg", "dog (2).jpg"],
        ["1_cat.jpg", "2_cat.jpg", "3-dog.png", "4-dog.png"],
        ["Süßkirsche1.jpg", "Süßkirsche2.jpg", "Äpfel1.jpg", "Äpfel2.jpg"],
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_classes_in_file_names(tmp_path: Path, names: list[str], form: Literal["NFC", "NFD"]) -> None:
    recognized = layout.recognize(files(tmp_path, *(unicodedata.normalize(form, name) for name in names)))
    assert recognized.kind == "filename"
    assert list(layout.count(recognized.params()).by_class.values()) == [2, 2]


def test_a_table_beside_its_images_or_named_itself(tmp_path: Path) -> None:
    root = files(tmp_path, "images/1.jpg", "images/2.jpg", "other/x.jpg")
    (root / "labels.csv").write_text(
        "\ufeffpath,label\nimages/1.jpg,cat\nimages/2.jpg,dog\n", encoding="utf-8"
    )
    (root / "readme.csv").write_text("no,such,columns\n", encoding="utf-8")
    for path in (root, root / "labels.csv"):
        recognized = layout.recognize(path)
        assert (recognized.kind, recognized.settings, recognized.path) == (
            "csv",
            {"table": "labels.csv"},
            root,
        )
        assert layout.count(recognized.params()).by_class == {"cat": 1, "dog": 1}


def test_a_csv_file_that_is_no_table_beside_class_folders_is_passed_over(tmp_path: Path) -> None:
    root = files(tmp_path, "cat/1.jpg", "dog/1.jpg")
    (root / "notes.csv").write_text("x" * 200_000)
    assert layout.recognize(root).kind == "folder"
    assert layout.recognize(root / "notes.csv").kind == "csv"


def test_archives_named_or_alone_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "zip").mkdir()
    with zipfile.ZipFile(tmp_path / "zip" / "images.zip", "w") as archive:
        archive.writestr("cat/1.jpg", b"x")
        archive.writestr("dog/1.jpg", b"y")
    with tarfile.open(tmp_path / "images.tar.gz", "w:gz") as tar:
        for name in ("cat/1.jpg", "dog/1.jpg"):
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    for path in (tmp_path / "zip", tmp_path / "images.tar.gz"):
        recognized = layout.recognize(path)
        assert recognized.kind == "archive"
        assert layout.count(recognized.params()).by_class == {"cat": 1, "dog": 1}


def test_tiny_imagenet(tmp_path: Path) -> None:
    files(tmp_path, "wnids.txt", "train/n1/images/1.JPEG", "val/images/1.JPEG")
    assert layout.recognize(tmp_path).kind == "tiny_imagenet"


def test_what_fits_no_layout_is_said_with_three_names(tmp_path: Path) -> None:
    names = [f"image_{number:04d}.jpg" for number in range(8)]
    message = r"no class in file names such as image_0000\.jpg, image_0001\.jpg, image_0002\.jpg; looked for"
    with pytest.raises(SourceError, match=message):
        layout.recognize(files(tmp_path / "flat", *names))
    with pytest.raises(SourceError, match="has no images in a known layout; looked for one folder per class"):
        layout.recognize(files(tmp_path / "empty", ".hidden"))
    with pytest.raises(SourceError, match="does not exist"):
        layout.recognize(tmp_path / "missing")


def test_one_folder_of_images_is_one_class(tmp_path: Path) -> None:
    root = files(tmp_path / "images", *(f"cats/{number}.jpg" for number in range(5)))
    with pytest.raises(SourceError) as refused:
        layout.recognize(root)
    assert str(refused.value) == f"{root}: a classifier needs at least two classes; here: cats 5"


@pytest.mark.parametrize("name", ["cat.jpg", "labels.xlsx", "README"])
def test_a_file_that_holds_no_images_is_refused_with_what_is_allowed(tmp_path: Path, name: str) -> None:
    path = files(tmp_path, name) / name
    with pytest.raises(SourceError) as refused:
        layout.recognize(path)
    assert str(refused.value) == (
        f"{path} is a file; allowed: a folder, an archive (.bz2, .gz, .tar, .tgz, .xz, .zip), "
        "a CSV file (.csv), or a file of arrays (.h5, .hdf5, .npz)"
    )


@pytest.mark.parametrize("mode", ["w", "w:bz2"])
def test_an_archive_with_an_unknown_suffix_is_one_by_its_bytes(
    tmp_path: Path, mode: Literal["w", "w:bz2"]
) -> None:
    with tarfile.open(tmp_path / "images.tbz2", mode) as tar:
        tar.addfile(tarfile.TarInfo("cat/1.jpg"))
    assert layout.recognize(tmp_path / "images.tbz2").kind == "archive"
    # The source says that 7z unpacks this one.
    assert layout.recognize(files(tmp_path, "images.7z") / "images.7z").kind == "archive"
