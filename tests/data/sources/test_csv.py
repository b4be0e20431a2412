"""A table of images and classes."""

from pathlib import Path

import hydra
import pytest

from stages.common.errors import SourceError
from stages.data import layout
from stages.data.sources import Image, csv, images


def result(root: Path, table: str = "labels.csv") -> list[Image]:
    return list(images(csv.Params(kind="csv", path=root, table=table)))


def write(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)


def test_paths_are_relative_to_the_table(tmp_path: Path) -> None:
    write(tmp_path / "tables" / "labels.csv", "path,label\n../images/a.png,cat\nb.png,dog\n")
    write(tmp_path / "images" / "a.png", "image")
    names = [(entry.name, entry.label, entry.split) for entry in result(tmp_path, "tables/labels.csv")]
    assert names == [("images/a.png", "cat", None), ("tables/b.png", "dog", None)]
    assert result(tmp_path, "tables/labels.csv")[0].read() == b"image"


def test_a_column_may_say_the_split(tmp_path: Path) -> None:
    write(tmp_path / "labels.csv", "label,split,path\ncat,train,a\ncat,Validation,b\ndog,test,c\ndog,,d\n")
    assert [(entry.name, entry.split) for entry in result(tmp_path)] == [
        ("a", "train"),
        ("b", "val"),
        ("c", "test"),
        # A table may name the test images alone.
        ("d", "train"),
    ]
    write(tmp_path / "labels.csv", "label,path\ncat,a\n")
    assert [entry.split for entry in result(tmp_path)] == [None]
    write(tmp_path / "labels.csv", "label,path,split\ncat,a\n")
    assert [entry.split for entry in result(tmp_path)] == ["train"]


def test_tables_of_spreadsheets_are_read(tmp_path: Path) -> None:
    text = 'path, label, note\r\n"Übergröße, rot.png", "große Katze", x\r\n'
    write(tmp_path / "labels.csv", text, encoding="utf-8-sig")
    assert [(entry.name, entry.label) for entry in result(tmp_path)] == [
        ("Übergröße, rot.png", "große Katze")
    ]


@pytest.mark.parametrize("path", ["/etc/passwd", "../../outside.png", ""])
def test_an_image_outside_of_the_folder_is_not_read(tmp_path: Path, path: str) -> None:
    write(tmp_path / "labels.csv", f"path,label\n{path},cat\n")
    (entry,) = result(tmp_path)
    assert "line 2" in (entry.problem or "")
    assert entry.path is None


def test_a_short_line_has_no_class(tmp_path: Path) -> None:
    write(tmp_path / "labels.csv", "path,label\na.png\n")
    assert [(entry.name, entry.label) for entry in result(tmp_path)] == [("a.png", "")]


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
        result(tmp_path)


def test_a_missing_table_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"ingest\.source\.table: .*labels\.csv cannot be read: .*No such"):
        result(tmp_path)
    with pytest.raises(SourceError, match="nowhere does not exist"):
        result(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        # The quote of line 3 is closed in line 6.
        (["a,cat", 'b,"cat', "c,cat", "d,dog", 'e,dog"', "f,dog"], "line 3: a quote joins .* up to 6"),
        (["a,cat", '"b,cat', "c,cat", 'd",dog'], "line 3: a quote joins .* up to 5"),
        (["a,cat,x", 'b,cat,"5 inch', "c,cat,x", 'd,cat,6 inch"'], "line 3: a quote joins .* up to 5"),
        (["a,cat", 'b,"cat', "c,cat"], "unexpected end of data, in the record that begins in line 3"),
        (["a,cat", 'b,"cat"s', "c,cat"], "expected after '\"', in the record that begins in line 3"),
        (["a,cat", "b, small,cat,x", "c,cat"], "line 3: 4 values for 3 columns"),
    ],
)
def test_a_stray_quote_or_comma_is_named_with_its_line(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    write(tmp_path / "labels.csv", "\n".join(["path,label,note", *lines]))
    with pytest.raises(SourceError, match=message):
        result(tmp_path)


def test_a_line_break_in_the_name_of_a_file_is_one(tmp_path: Path) -> None:
    write(tmp_path / "two\nlines.png", "image")
    write(tmp_path / "labels.csv", 'path,label\n"two\nlines.png",cat\nb.png,dog\n')
    assert [image.name for image in result(tmp_path)] == ["two\nlines.png", "b.png"]


def test_empty_values_and_lines_of_spreadsheets_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "labels.csv", "path,label\n\na.png,cat,,\n\nb.png,dog\r\n")
    assert [(image.name, image.label) for image in result(tmp_path)] == [("a.png", "cat"), ("b.png", "dog")]


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "labels.csv", "path,label,label\na.png,cat,dog\n")
    with pytest.raises(SourceError, match="names label more than once"):
        result(tmp_path)


@pytest.mark.parametrize("recipe", ["digits", "lenet_smiles", "flowers17"])
def test_any_recipe_takes_a_table_without_a_plus(recipe: str) -> None:
    conf = Path(__file__).parents[3] / "conf"
    words = ["dataset=csv", "ingest.source.path=my images", "ingest.source.table=my table.csv"]
    with hydra.initialize_config_dir(str(conf), version_base=None):
        source = hydra.compose("config", [f"recipe={recipe}", *words]).ingest.source
    assert dict(source) == {"kind": "csv", "path": "my images", "table": "my table.csv"}


@pytest.mark.parametrize("folder", ["", "img\\"])
def test_a_path_longer_than_any_file_name_costs_its_own_line_alone(tmp_path: Path, folder: str) -> None:
    (tmp_path / "1.png").touch()
    table = f"path,label\n1.png,cat\n{folder}{'a' * 300}.png,dog\n"
    (tmp_path / "labels.csv").write_text(table, encoding="utf-8")
    assert [image.label for image in result(tmp_path)] == ["cat", "dog"]
    counted = layout.count(csv.Params(kind="csv", path=tmp_path, table="labels.csv"))
    assert (counted.by_class, counted.unlabelled) == ({"cat": 1}, 1)


def test_a_quote_that_joins_many_lines_is_named(tmp_path: Path) -> None:
    """The joined lines are longer than any file name."""
    rows = "".join(f"{number:030d}.png,cat\n" for number in range(20))
    (tmp_path / "labels.csv").write_text(f'path,label\n"a.png,cat\n{rows}b.png",dog\n', encoding="utf-8")
    with pytest.raises(SourceError, match=r"line 2: a quote joins it with the lines up to 23;"):
        result(tmp_path)


def test_backslashes_separate_folders_unless_a_file_has_them(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    for name in ("img/1.png", "a\\b.png"):
        (tmp_path / name).touch()
    lines = ["path,label", "img\\1.png,cat", "a\\b.png,dog", "..\\outside.png,dog", "C:\\img\\1.png,cat"]
    (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    first, second, outside, drive = result(tmp_path)
    assert (first.name, second.name) == ("img/1.png", "a\\b.png")
    assert "outside of" in str(outside.problem)
    assert (
        drive.problem
        == f"{tmp_path / 'labels.csv'}, line 5: an absolute path of Windows; write it relative to the table"
    )
