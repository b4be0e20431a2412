"""ingest: which image is in which split, by content or as the source says, and what is warned of."""

import csv
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from stages.data import blobs
from stages.data.manifest import SPLITS
from stages.data.sources import archive
from stages.data.sources import csv as csv_source
from tests.ingested import rejects_of, rows_of, splits_of
from tests.project import Images, Project


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
