"""extract: features of every image, in the order of the packed files."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.common.errors import ParamsError, StoreError
from stages.common.files import digest
from stages.data import store
from stages.extract import extract
from stages.models import extractors
from stages.models.extractors import hog, keras_applications, pixels
from tests.project import Images, Project


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_split_has_features_labels_and_ids(packed: Any, features: Path, split: str) -> None:
    with (
        store.Reader(packed.packed / f"{split}.h5") as images,
        store.Reader(features / f"{split}.h5") as rows,
    ):
        assert (rows.key, rows.dtype) == ("features", np.float32)
        expected = images.read(0, len(images)).reshape(len(images), -1) / 255
        np.testing.assert_allclose(rows.read(0, len(rows)), expected, atol=1e-6)
        np.testing.assert_array_equal(rows.ids, images.ids)
        np.testing.assert_array_equal(rows.column("labels"), images.column("labels"))
        assert rows.provenance["split"] == split
        assert rows.provenance["manifest"] == images.provenance["manifest"]
        assert rows.provenance["extractor"] == {"name": "pixels", "kind": "pixels"}


def test_train_val_has_features_where_it_is_packed_and_only_there(
    images: Images, project: Project, tmp_path: Path
) -> None:
    images()
    folder = tmp_path / "features"
    for fraction, expected in (
        (0.25, {"train", "train_val", "val", "test"}),
        (0.0, {"train", "val", "test"}),
    ):
        project.ingest(train_val_fraction=fraction)
        project.resize()
        project.mean()
        project.pack()
        extract("p", params=pixels.Params(kind="pixels"), packed=project.packed, features=folder)
        assert {path.stem for path in folder.iterdir()} == expected
        for split in expected:
            with (
                store.Reader(project.packed / f"{split}.h5") as packed,
                store.Reader(folder / f"{split}.h5") as rows,
            ):
                np.testing.assert_array_equal(rows.ids, packed.ids)


def test_what_cannot_be_extracted_leaves_nothing(packed: Any, tmp_path: Path) -> None:
    params = hog.Params(kind="hog", cell=5, block=2, bins=9)
    with pytest.raises(ParamsError, match=r"resize\.size"):
        extract("hog", params=params, packed=packed.packed, features=tmp_path / "hog")
    with pytest.raises(StoreError, match="does not exist; run the stage that makes it"):
        extract("p", params=pixels.Params(kind="pixels"), packed=tmp_path, features=tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def file_digests(folder: Path) -> dict[str, str]:
    return {path.name: digest(path) for path in folder.iterdir()}


def computed(caplog: pytest.LogCaptureFixture) -> int:
    fields = [
        vars(record)["fields"] for record in caplog.records if record.getMessage() == "extracted_features"
    ]
    return sum(each["computed"] for each in fields)


@pytest.mark.slow
def test_only_new_images_pass_the_network_and_features_are_those_from_scratch(
    images: Images,
    project: Project,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    image_results: Path,
) -> None:
    import keras

    options = {"alpha": 0.35}
    keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg", **options
    ).save_weights(tmp_path / "w.weights.h5")
    weights = tmp_path / "w.weights.h5"
    params = keras_applications.Params(
        kind="keras_applications", backbone="MobileNetV2", weights=str(weights), options=options
    )

    def run(folder: str) -> Path:
        project.ingest()
        project.resize(size=[32, 32])
        project.mean()
        project.pack()
        caplog.clear()
        with caplog.at_level("INFO"):
            extract("net", params=params, packed=project.packed, features=tmp_path / folder)
        return tmp_path / folder

    images({"cat": 300, "dog": 40})
    run("first")
    assert computed(caplog) == 340
    images({"cat": 303}, root=project.source)
    changed = run("changed")
    assert computed(caplog) == 3
    shutil.rmtree(image_results)
    assert file_digests(run("scratch")) == file_digests(changed)
    assert computed(caplog) == 343


def test_no_network_is_loaded_where_every_image_is_known(
    packed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = pixels.Params(kind="pixels")
    extract("p", params=params, packed=packed.packed, features=tmp_path / "first")

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(extractors, "features", refuse)
    extract("p", params=params, packed=packed.packed, features=tmp_path / "second")
    assert file_digests(tmp_path / "second") == file_digests(tmp_path / "first")
