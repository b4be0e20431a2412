"""A table of images and classes."""

from pathlib import Path

import pytest

from stages.common.errors import SourceError
from stages.data.sources import Image, csv, images


def found(root: Path, table: str = "labels.csv") -> list[Image]:
    return list(images(csv.Params(kind="csv", path=root, table=table)))


def write(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)


def test_paths_are_relative_to_the_table(tmp_path: Path) -> None:
    write(tmp_path / "tables" / "labels.csv", "path,label\n../images/a.png,cat\nb.png,dog\n")
    write(tmp_path / "images" / "a.png", "image")
    names = [(one.name, one.label, one.split) for one in found(tmp_path, "tables/labels.csv")]
    assert names == [("images/a.png", "cat", None), ("tables/b.png", "dog", None)]
    assert found(tmp_path, "tables/labels.csv")[0].read() == b"image"


def test_a_column_may_say_the_split(tmp_path: Path) -> None:
    write(tmp_path / "labels.csv", "label,split,path\ncat,train,a\ncat,Validation,b\ndog,test,c\ndog,,d\n")
    assert [(one.name, one.split) for one in found(tmp_path)] == [
        ("a", "train"),
        ("b", "val"),
        ("c", "test"),
        ("d", None),
    ]


def test_tables_of_spreadsheets_are_read(tmp_path: Path) -> None:
    text = 'path, label, note\r\n"Übergröße, rot.png", "große Katze", x\r\n'
    write(tmp_path / "labels.csv", text, encoding="utf-8-sig")
    assert [(one.name, one.label) for one in found(tmp_path)] == [("Übergröße, rot.png", "große Katze")]


@pytest.mark.parametrize("path", ["/etc/passwd", "../../outside.png", ""])
def test_a_image_outside_of_the_folder_is_not_read(tmp_path: Path, path: str) -> None:
    write(tmp_path / "labels.csv", f"path,label\n{path},cat\n")
    (one,) = found(tmp_path)
    assert "line 2" in (one.problem or "")
    assert one.path is None


def test_a_short_line_has_no_class(tmp_path: Path) -> None:
    write(tmp_path / "labels.csv", "path,label\na.png\n")
    assert [(one.name, one.label) for one in found(tmp_path)] == [("a.png", "")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"must name columns path and label, not nothing"),
        (b"file,class\na,b\n", "must name columns path and label, not file, class"),
        (b"path,label,split\na,cat,hold out\n", "line 2: split is 'hold out'; allowed: train, "),
        (b"path,label\n\xff,cat\n", r"labels\.csv cannot be read: 'utf-8' codec"),
        (b"path,label\na," + b"x" * 200_000, r"labels\.csv cannot be read: field larger"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        found(tmp_path)


def test_a_missing_table_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"ingest\.source\.table: .*labels\.csv cannot be read: .*No such"):
        found(tmp_path)
    with pytest.raises(SourceError, match="nowhere does not exist"):
        found(tmp_path / "nowhere")
