"""ingest: what is accepted, what is listed as rejected, and what stops the stage."""

import errno
import itertools
import json
import os
import shutil
import unicodedata
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from stages.common.errors import SourceError, exit_status
from stages.data.sources import SourceParams, archive, folder
from tests.ingested import rejects_of, rows_of
from tests.project import Images, Project


def test_every_image_is_in_the_manifest_with_its_facts(project: Project, images: Images) -> None:
    images(size=(20, 24))
    project.ingest()
    rows = rows_of(project)
    assert [row["path"] for row in rows][:2] == ["cat/000.png", "cat/001.png"]
    assert {row["label"] for row in rows} == {"cat", "dog"}
    assert {(row["width"], row["height"], row["channels"]) for row in rows} == {(24, 20, 3)}
    assert len({row["id"] for row in rows}) == 20
    assert json.loads(project.classes.read_text()) == ["cat", "dog"]
    assert rejects_of(project) == []


def test_the_same_image_under_two_classes_is_left_out_of_both(project: Project, images: Images) -> None:
    source = images()
    shutil.copy(source / "cat" / "003.png", source / "dog" / "as a dog.png")
    project.ingest(max_reject_fraction=0.1)
    assert len(rows_of(project)) == 19
    assert "cat/003.png" not in {row["path"] for row in rows_of(project)}
    conflicts = {
        entry["path"]: entry["detail"] for entry in rejects_of(project) if entry["reason"] == "conflict"
    }
    assert conflicts == {
        "cat/003.png": "also under another class",
        "dog/as a dog.png": "the same bytes as cat/003.png of class 'cat'",
    }


def test_unreadable_files_are_listed_with_their_reason_and_the_run_goes_on(
    project: Project, images: Images
) -> None:
    source = images()
    (source / "cat" / "empty.jpg").touch()
    (source / "dog" / "notes.jpg").write_text("no image")
    (source / "at the top.png").write_bytes((source / "cat" / "000.png").read_bytes())
    project.ingest(max_reject_fraction=0.2)
    assert len(rows_of(project)) == 20
    result = {entry["path"]: (entry["reason"], entry["detail"]) for entry in rejects_of(project)}
    assert result["cat/empty.jpg"] == ("picture", "the file is empty")
    assert result["dog/notes.jpg"][1].startswith("not an image in one of the formats")
    assert result["at the top.png"] == ("label", "neither the name nor the folder says the class")


def test_more_rejects_than_allowed_stop_the_stage_but_are_listed(project: Project, images: Images) -> None:
    source = images()
    for number in range(3):
        (source / "cat" / f"broken {number}.png").touch()
    with pytest.raises(SourceError) as stop:
        project.ingest(max_reject_fraction=0.1)
    assert "3 of 23 files cannot be used, more than ingest.max_reject_fraction = 0.1" in str(stop.value)
    assert "cat/broken 0.png" in str(stop.value)
    assert str(project.rejects) in str(stop.value)
    assert len(rejects_of(project)) == 3
    assert not project.manifest.exists()


def stale(*_: object) -> None:
    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


@pytest.mark.parametrize("where", ["an image", "a folder", "a member"])
def test_a_share_that_fails_once_is_tried_again_and_costs_no_image(
    project: Project, images: Images, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The stage ended well without these images, and DVC kept its outputs."""
    source: SourceParams = folder.Params(kind="folder", path=images())
    if where == "a member":
        source = archive.Params(kind="archive", path=zipped(project))
    owner, name = {"an image": (Path, "read_bytes"), "a folder": (os, "scandir")}.get(
        where, (zipfile.ZipFile, "read")
    )
    calls, read = itertools.count(), getattr(owner, name)
    # The third call is the first one for the class `dog`, or an image.
    monkeypatch.setattr(owner, name, lambda *args: stale() if next(calls) == 2 else read(*args))
    with pytest.raises(OSError, match="Stale file handle") as stop:
        project.ingest(source, max_reject_fraction=0.9)
    assert exit_status(stop.value) == 75
    assert not project.manifest.exists()
    project.ingest(source)
    assert len(rows_of(project)) == 20


def zipped(project: Project) -> Path:
    path = project.root / "set.zip"
    with zipfile.ZipFile(path, "w") as out:
        for image in sorted(project.source.rglob("*.png")):
            out.write(image, image.relative_to(project.source))
    return path


def test_class_names_may_have_spaces_and_any_letters(project: Project, images: Images) -> None:
    names = ["Afrikanischer Elefant", "Übergröße", "猫", "кот, рыжий"]
    images(dict.fromkeys(names, 5))
    project.ingest()
    assert json.loads(project.classes.read_text(encoding="utf-8")) == sorted(names)
    project.resize()
    project.mean()
    project.pack()
    assert (project.packed / "test.h5").exists()


def test_composed_and_decomposed_names_are_one_class(project: Project, images: Images) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    source = images({composed: 5, "bar": 5})
    if (source / decomposed).exists():
        pytest.skip("this file system takes both spellings for one name")
    images({decomposed: 5})
    project.ingest()
    assert json.loads(project.classes.read_text(encoding="utf-8")) == ["bar", composed]
    assert sum(row["label"] == composed for row in rows_of(project)) == 10
    project.resize()


def test_a_second_run_gives_the_same_bytes(project: Project, images: Images) -> None:
    source = images()
    (source / "cat" / "broken.png").touch()
    written = (project.manifest, project.classes, project.rejects, project.blob)
    project.ingest(max_reject_fraction=0.1)
    first = [path.read_bytes() for path in written]
    project.ingest(max_reject_fraction=0.1)
    assert [path.read_bytes() for path in written] == first


def test_one_image_in_a_class_is_too_few(project: Project, images: Images) -> None:
    images({"cat": 10, "rare bird": 1})
    with pytest.raises(SourceError, match=r"at least 3 different readable images.*'rare bird' has 1"):
        project.ingest()


def test_an_empty_class_is_named(project: Project, images: Images) -> None:
    source = images()
    (source / "empty class").mkdir()
    with pytest.raises(SourceError, match="class 'empty class' has no images; fill or delete"):
        project.ingest()


def test_an_empty_source_says_so(project: Project) -> None:
    project.source.mkdir()
    with pytest.raises(SourceError, match="holds no files"):
        project.ingest()


def test_images_of_every_accepted_format_are_taken(project: Project, images: Images) -> None:
    source = images({"cat": 5, "dog": 5})
    for number, suffix in enumerate(["bmp", "gif", "jpg", "png", "ppm", "tiff", "webp"]):
        Image.new("RGB", (8, 8), (number, 50, 99)).save(source / "cat" / f"one.{suffix}")
    project.ingest()
    assert len(rows_of(project)) == 17
    project.resize()


def test_classes_that_differ_by_case_or_a_blank_are_warned_of(
    project: Project, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    images({"cat": 5, "Cat ": 5, "dog": 5})
    project.ingest()
    (record,) = [record for record in caplog.records if record.message == "found_similar_class_names"]
    assert vars(record)["fields"] == {"names": "'Cat ', 'cat'"}
    assert json.loads(project.classes.read_text()) == ["Cat ", "cat", "dog"]
