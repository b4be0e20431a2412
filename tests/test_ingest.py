"""ingest: what is accepted, what is listed as rejected, and what stops the stage."""

import csv
import errno
import itertools
import json
import os
import shutil
import tarfile
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages.common.errors import SourceError, exit_status
from stages.data import blobs
from stages.data.manifest import SPLITS
from stages.data.sources import SourceParams, archive, folder
from stages.data.sources import csv as csv_source
from tests.conftest import Images, Project


def rows_of(project: Project) -> list[dict[str, Any]]:
    return pq.read_table(project.manifest).to_pylist()


def rejects_of(project: Project) -> list[dict[str, Any]]:
    with project.rejects.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def splits_of(project: Project) -> dict[str, str]:
    return {row["sha256"]: row["split"] for row in rows_of(project)}


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


def test_every_class_has_its_share_of_each_split(project: Project, images: Images) -> None:
    images({"cat": 10, "dog": 20})
    project.ingest(val_fraction=0.2, test_fraction=0.3)
    for label, sizes in {"cat": [5, 2, 3], "dog": [10, 4, 6]}.items():
        splits = [row["split"] for row in rows_of(project) if row["label"] == label]
        assert [splits.count(split) for split in SPLITS] == sizes


def test_file_names_play_no_role_in_the_split(project: Project, images: Images) -> None:
    source = images()
    project.ingest()
    before = splits_of(project)
    for number, path in enumerate(sorted(source.rglob("*.png"), reverse=True)):
        path.rename(path.with_name(f"renamed {number:04d}.png"))
    project.ingest()
    assert splits_of(project) == before


def test_the_same_image_under_two_names_is_in_one_split_once(project: Project, images: Images) -> None:
    source = images()
    for path in sorted(source.rglob("*.png")):
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
    project.ingest()
    assert len(rows_of(project)) == len(splits_of(project)) == 20
    rejects = rejects_of(project)
    assert len(rejects) == 20
    assert rejects[0] == {
        "path": "cat/copy of 000.png",
        "label": "cat",
        "reason": "duplicate",
        "detail": "the same bytes as cat/000.png",
    }


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


def official(project: Project, images: Images) -> None:
    """Train and test folders as CIFAR has them, no val; two classes of 10 and 5 images."""
    images({"cat": 10, "dog": 10}, root=project.source / "train", seed=1)
    images({"cat": 5, "dog": 5}, root=project.source / "Test", seed=2)


def test_official_splits_are_taken_from_the_path(project: Project, images: Images) -> None:
    official(project, images)
    project.ingest(split="from_path", val_fraction=0.2)
    rows = rows_of(project)
    assert {row["label"] for row in rows} == {"cat", "dog"}
    assert {row["split"] for row in rows if row["path"].startswith("Test/")} == {"test"}
    assert {row["split"] for row in rows if row["path"].startswith("train/")} == {"train", "val"}
    for label in ("cat", "dog"):
        splits = [row["split"] for row in rows if row["label"] == label]
        assert [splits.count(split) for split in SPLITS] == [8, 2, 5]


def test_train_val_is_of_the_images_that_the_source_names_as_train(
    project: Project, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    official(project, images)
    images({"cat": 5, "dog": 5}, root=project.source / "val", seed=3)
    with caplog.at_level("INFO"):
        project.ingest(split="from_path", train_val_fraction=0.2)
    split_of = {row["path"]: row["split"] for row in rows_of(project)}
    named = {
        name: [split for path, split in split_of.items() if path.startswith(name)]
        for name in ("train/cat", "train/dog", "val/", "Test/")
    }
    for label in ("cat", "dog"):
        assert sorted(named[f"train/{label}"]) == ["train"] * 8 + ["train_val"] * 2
    assert (set(named["val/"]), set(named["Test/"])) == ({"val"}, {"test"})
    (record,) = [record for record in caplog.records if record.message == "ingested_images"]
    sizes = vars(record)["fields"]
    assert [sizes[split] for split in ("train", "train_val", "val", "test")] == [16, 4, 10, 10]


def test_no_train_val_leaves_no_trace(
    project: Project, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    images()
    with caplog.at_level("INFO"):
        project.ingest()
    assert {row["split"] for row in rows_of(project)} == {"train", "val", "test"}
    (record,) = [record for record in caplog.records if record.message == "ingested_images"]
    assert "train_val" not in vars(record)["fields"]


@pytest.mark.parametrize("first", ["a train", "z train"])
def test_an_image_in_two_official_splits_stays_where_members_are_judged(
    project: Project, images: Images, first: str
) -> None:
    official(project, images)
    shutil.copy(project.source / "Test/cat/000.png", project.source / "train/cat" / f"{first}.png")
    project.ingest(split="from_path")
    assert len(splits_of(project)) == len(rows_of(project)) == 30
    assert [row["split"] for row in rows_of(project) if row["path"] == "Test/cat/000.png"] == ["test"]
    (reject,) = rejects_of(project)
    assert (reject["path"], reject["reason"]) == (f"train/cat/{first}.png", "duplicate")


def test_a_duplicate_in_an_archive_keeps_its_place_there(project: Project, images: Images) -> None:
    official(project, images)
    shutil.copy(project.source / "Test/cat/000.png", project.source / "train/cat/a.png")
    path = project.root / "set.tar"
    with tarfile.open(path, "w") as out:
        for folder in ("train", "Test"):
            out.add(project.source / folder, folder)
    project.ingest(archive.Params(kind="archive", path=path), split="from_path")
    row = next(row for row in rows_of(project) if row["path"] == "Test/cat/000.png")
    with blobs.BlobReader(project.blob) as reader:
        data = reader.read(row["offset"], row["bytes"])
    assert data == (project.source / "Test/cat/000.png").read_bytes()


def test_an_image_in_no_official_split_is_listed(project: Project, images: Images) -> None:
    official(project, images)
    shutil.copytree(project.source / "train" / "cat", project.source / "extra" / "cat")
    project.ingest(split="from_path", max_reject_fraction=0.5)
    assert {entry["detail"] for entry in rejects_of(project) if entry["reason"] == "split"} == {
        "no folder named train, val or test in its path"
    }
    assert len(rows_of(project)) == 30


def test_by_content_folders_of_splits_play_no_role(project: Project, images: Images) -> None:
    official(project, images)
    project.ingest(split="content")
    for label in ("cat", "dog"):
        splits = [row["split"] for row in rows_of(project) if row["label"] == label]
        assert [splits.count(split) for split in SPLITS] == [9, 3, 3]


def test_a_table_may_say_the_splits(project: Project, images: Images) -> None:
    source = images({"x": 30})
    lines = [f"x/{number:03d}.png,{'ab'[number % 2]},{SPLITS[number % 3]}" for number in range(30)]
    (source / "labels.csv").write_text("\n".join(["path,label,split", *lines]))
    project.ingest(csv_source.Params(kind="csv", path=source, table="labels.csv"), split="from_path")
    rows = rows_of(project)
    assert [row["split"] for row in rows] == list(SPLITS) * 10
    assert [row["label"] for row in rows] == ["a", "b"] * 15
    project.resize()


def test_images_of_every_accepted_format_are_taken(project: Project, images: Images) -> None:
    source = images({"cat": 5, "dog": 5})
    for number, suffix in enumerate(["bmp", "gif", "jpg", "png", "ppm", "tiff", "webp"]):
        Image.new("RGB", (8, 8), (number, 50, 99)).save(source / "cat" / f"one.{suffix}")
    project.ingest()
    assert len(rows_of(project)) == 17
    project.resize()


def test_near_duplicates_are_listed_and_stay_in_one_split(project: Project, images: Images) -> None:
    source = images()
    for number, path in enumerate(sorted(source.glob("cat/*.png"))):
        coarse = np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        scene = Image.fromarray(coarse).resize((90, 70), Image.Resampling.BICUBIC)
        scene.save(path)
        scene.resize((72, 60)).save(path.with_name(f"smaller {path.name}"))
    with Image.open(source / "cat" / "000.png") as image:
        image.convert("L").save(source / "dog" / "a gray cat.png")
    project.ingest()
    with project.near_duplicates.open(newline="", encoding="utf-8") as file:
        pairs = {(entry["path"], entry["other"]): entry["same_label"] for entry in csv.DictReader(file)}
    splits = {row["path"]: row["split"] for row in rows_of(project)}
    for number in range(10):
        name = f"{number:03d}.png"
        assert pairs[f"cat/{name}", f"cat/smaller {name}"] == "true"
        assert splits[f"cat/{name}"] == splits[f"cat/smaller {name}"]
    assert pairs["cat/000.png", "dog/a gray cat.png"] == "false"
    assert splits["cat/000.png"] == splits["dog/a gray cat.png"]


def test_blank_images_are_no_near_duplicates(project: Project, images: Images) -> None:
    source = images()
    for number in range(5):
        Image.new("RGB", (30, 20), (number, 0, 0)).save(source / "cat" / f"blank {number}.png")
    project.ingest()
    assert len(project.near_duplicates.read_text().splitlines()) == 1
    assert len(rows_of(project)) == 25


def test_a_class_that_a_split_lacks_is_warned_of(
    project: Project, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    official(project, images)
    shutil.rmtree(project.source / "Test" / "dog")
    project.ingest(split="from_path")
    (record,) = [record for record in caplog.records if record.message == "found_classes_without_images"]
    assert vars(record)["fields"] == {"split": "test", "classes": 1, "first": "dog"}


def test_frames_of_a_film_in_several_splits_are_warned_of(
    project: Project, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    source = images()
    draw = np.random.default_rng(0)
    scene = draw.integers(0, 256, (12, 60, 3)).astype(np.uint8)
    large = Image.fromarray(scene).resize((1200, 240), Image.Resampling.BICUBIC)
    # A camera that pans.
    for number in range(100):
        large.crop((10 * number, 0, 10 * number + 200, 200)).save(source / "cat" / f"film {number:03d}.png")
    project.ingest()
    assert "found_frames_of_films_in_several_splits" in caplog.messages


def test_classes_that_differ_by_case_or_a_blank_are_warned_of(
    project: Project, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    images({"cat": 5, "Cat ": 5, "dog": 5})
    project.ingest()
    (record,) = [record for record in caplog.records if record.message == "found_similar_class_names"]
    assert vars(record)["fields"] == {"names": "'Cat ', 'cat'"}
    assert json.loads(project.classes.read_text()) == ["Cat ", "cat", "dog"]
