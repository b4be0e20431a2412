"""pack: every image in the file of its split, once, with what is needed to read it."""

import json

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from stages.common.errors import StoreError
from stages.data.manifest import SPLITS
from tests.project import Images, Project


def test_each_image_is_in_the_file_of_its_split_once(packed: Project) -> None:
    rows = pq.read_table(packed.manifest).to_pylist()
    for split in SPLITS:
        with h5py.File(packed.packed / f"{split}.h5") as file:
            ids = [identity.decode() for identity in file["ids"]]
            images, labels = file["images"][:], file["labels"][:]
        assert sorted(ids) == sorted(row["id"] for row in rows if row["split"] == split)
        assert images.dtype == np.uint8
        assert images.shape == (len(ids), 16, 16, 3)
        assert labels.shape == (len(ids),)


def test_pixels_and_labels_follow_their_image(packed: Project) -> None:
    classes = json.loads(packed.classes.read_text())
    label_of = {row["id"]: classes.index(row["label"]) for row in pq.read_table(packed.manifest).to_pylist()}
    with h5py.File(packed.resized) as file:
        pixels = dict(zip(file["ids"][:].tolist(), file["images"][:], strict=True))
    with h5py.File(packed.packed / "train.h5") as file:
        for identity, image, label in zip(file["ids"], file["images"], file["labels"], strict=True):
            assert label_of[identity.decode()] == label
            np.testing.assert_array_equal(image, pixels[identity])


def test_training_images_are_shuffled(packed: Project) -> None:
    with h5py.File(packed.packed / "train.h5") as file:
        labels = file["labels"][:].tolist()
    assert labels != sorted(labels)


def test_a_packed_file_says_where_it_comes_from(packed: Project) -> None:
    with h5py.File(packed.packed / "val.h5") as file:
        provenance = json.loads(file.attrs["provenance"])
    assert provenance["classes"] == ["cat", "dog", "panda"]
    assert provenance["split"] == "val"
    assert provenance["pack"] == {"seed": 1, "codec": "none"}
    resize = {"size": [16, 16], "keep_aspect": True, "color": "rgb", "quality": "exact"}
    assert provenance["resize"] == resize
    assert provenance["stats"] == json.loads(packed.stats.read_text())


def test_a_second_run_gives_the_same_bytes_and_another_seed_another_order(
    project: Project, images: Images
) -> None:
    images()
    project.ingest()
    project.resize()
    project.mean()

    def packed(seed: int) -> dict[str, bytes]:
        project.pack(seed=seed)
        return {path.name: path.read_bytes() for path in project.packed.iterdir()}

    first = packed(1)
    assert sorted(first) == ["test.h5", "train.h5", "val.h5"]
    assert packed(1) == first
    assert packed(2) != first


def test_train_val_has_a_file_of_its_own_and_no_part_in_the_others(project: Project, images: Images) -> None:
    images({"cat": 20, "dog": 20})
    project.ingest(train_val_fraction=0.25)
    project.resize()
    project.mean()
    project.pack()
    held: dict[str, set[str]] = {}
    for path in project.packed.iterdir():
        with h5py.File(path) as file:
            held[path.stem] = {identity.decode() for identity in file["ids"]}
            assert json.loads(file.attrs["provenance"])["split"] == path.stem
    assert {name: len(ids) for name, ids in held.items()} == {
        "train": 18,
        "train_val": 6,
        "val": 8,
        "test": 8,
    }
    assert len(set.union(*held.values())) == 40
    # The channel means are of what is trained on.
    assert json.loads(project.stats.read_text())["count"] == 18 * 16 * 16


def test_train_val_goes_when_it_is_not_asked_for_any_more(project: Project, images: Images) -> None:
    images()
    for fraction, files in ((0.25, 4), (0.0, 3)):
        project.ingest(train_val_fraction=fraction)
        project.resize()
        project.mean()
        project.pack()
        assert len(list(project.packed.iterdir())) == files


def test_images_of_an_older_manifest_are_refused(project: Project, images: Images) -> None:
    images()
    project.ingest()
    project.resize()
    project.mean()
    images({"cow": 10})
    project.ingest()
    with pytest.raises(StoreError, match="run resize again"):
        project.pack()
    assert not project.packed.exists()
