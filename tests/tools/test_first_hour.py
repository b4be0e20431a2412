"""The seven kinds of data of docs/first-hour.md, from the path to the splits. `.ci/run` does a whole run."""

import csv
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from stages import params
from stages.data import layout
from stages.data.manifest import Manifest
from stages.tools.running import checking, choosing, composing
from tests.paths import ROOT
from tests.project import Project, write_images

CLASSES = {"cats": 40, "dogs": 40, "panda": 40}
# What macOS writes beside each file.
RESOURCE_FORK = b"\x00\x05\x16\x07" + bytes(100)
SIZE = (24, 24)


def class_folders(root: Path) -> Path:
    return write_images(root / "photographs", CLASSES, size=SIZE)


def split_folders(root: Path) -> Path:
    folder = class_folders(root)
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        place = root / "split" / ("test" if number % 5 == 0 else "train") / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, place)
    return root / "split"


def windows_table(root: Path) -> Path:
    """A CSV file as a spreadsheet writes it: a byte-order mark, CRLF, backslashes in paths."""
    folder = class_folders(root)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.writer(file)
        table.writerow(["path", "label"])
        for path in sorted(folder.rglob("*.png")):
            table.writerow([f"{path.parent.name}\\{path.name}", path.parent.name])
    return folder


def file_names(root: Path) -> Path:
    folder = root / "names"
    folder.mkdir()
    for number, path in enumerate(sorted(class_folders(root).rglob("*.png"))):
        shutil.move(path, folder / f"{path.parent.name}.{number}.png")
    return folder


def zip_of_a_mac(root: Path) -> Path:
    folder = class_folders(root)
    with zipfile.ZipFile(root / "animals.zip", "w") as archive:
        archive.writestr("Animals/.DS_Store", b"\x00\x00\x00\x01Bud1")
        for path in sorted(folder.rglob("*.png")):
            name = f"{path.parent.name}/{path.name}"
            archive.write(path, f"Animals/{name}")
            archive.writestr(f"__MACOSX/Animals/{path.parent.name}/._{path.name}", RESOURCE_FORK)
    return root / "animals.zip"


def hundred_classes(root: Path) -> Path:
    counts = {f"class {number:03d}": 5 + number % 36 for number in range(100)}
    return write_images(root / "hundred", counts, size=(8, 8), noise=40)


def blanks_and_umlauts(root: Path) -> Path:
    folder = class_folders(root)
    shutil.move(folder / "cats", folder / "Kätzchen & Co")
    return folder.rename(root / "Meine schönen Bilder")


@pytest.mark.parametrize(
    ("make", "description", "classes"),
    [
        (class_folders, "one folder per class", 3),
        (split_folders, "split folders (test, train) with one folder per class", 3),
        (windows_table, "a table, labels.csv", 3),
        (file_names, "file names with the class", 3),
        (zip_of_a_mac, "an archive", 3),
        (hundred_classes, "one folder per class", 100),
        (blanks_and_umlauts, "one folder per class", 3),
    ],
)
def test_images_of_ones_own_are_recognized_and_split(
    project: Project, make: Callable[[Path], Path], description: str, classes: int, tmp_path: Path
) -> None:
    recognized = layout.recognize(make(tmp_path))
    assert recognized.description == description
    source = recognized.params()
    checking.check_source(source)
    files = layout.count(source)
    checking.check_classes(source, files)
    assert files.unlabelled == 0
    choice = choosing.Choice("images_from_scratch", "")
    composing.compose(ROOT / "conf", choosing.source_overrides(recognized, choice), tmp_path / "params.yaml")
    composed = params.load(tmp_path / "params.yaml").ingest
    assert composed.source == source
    project.ingest(source, **composed.model_dump(exclude={"source"}))
    manifest = Manifest.read(project.manifest)
    assert len(manifest) == sum(files.by_class.values())
    splits = manifest.strings("split").tolist()
    each = Counter(zip(manifest.strings("label").tolist(), splits, strict=True))
    assert len(each) == 3 * classes, "each class is in each split"
    if files.by_split:
        assert Counter(splits)["test"] == files.by_split["test"]
    assert project.rejects.read_text(encoding="utf-8").count("\n") == 1
