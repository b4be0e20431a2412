"""A bundle gives of raw images what the pipeline gives of packed ones, and says what it cannot use."""

from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
from PIL import Image

from stages.common.errors import ImageError, ServingError
from stages.common.files import read_json, write_json
from stages.data.manifest import Manifest
from stages.data.store import Reader
from stages.ensemble import ensemble
from stages.extract import extract
from stages.models.extractors import keras_applications
from stages.models.learners import logistic_regression
from stages.params import Ensemble, Predict
from stages.predict import predict
from stages.serving import bundle, intake
from stages.serving.classifier import Classifier
from stages.train import train

from .conftest import MODELS

WEIGHTS = {"patchy": 1.0, "logistic": 3.0}
RESIZE = {"size": [16, 16], "keep_aspect": True, "color": "rgb", "quality": "exact"}
ENOUGH = 1_000_000


def rows(path: Path) -> np.ndarray:
    with Reader(path) as reader:
        return reader.read(0, len(reader))


@pytest.mark.parametrize("crops", ["center", "ten"])
def test_members_and_the_ensemble_give_what_the_stages_give(
    members: dict[str, Path],
    packed: Any,
    features: Path,
    test_images: list[Path],
    tmp_path: Path,
    crops: str,
) -> None:
    predictions = tmp_path / "predictions"
    data = {"patchy": packed.packed, "logistic": features}
    for name, folder in members.items():
        paths = {"model": folder, "data": data[name], "predictions": predictions / name}
        predict(name, params=Predict(crops=crops), **paths)
        bundle.write(tmp_path / name, {name: folder}, {name: 7.0}, crops)
    params = Ensemble(members=list(members), weights=WEIGHTS)
    ensemble(params, predictions=predictions, ensemble=tmp_path / "averaged")
    bundle.write(tmp_path / "ensemble", members, WEIGHTS, crops)

    files = {name: predictions / name for name in members} | {"ensemble": tmp_path / "averaged"}
    for name, folder in files.items():
        classifier = Classifier(tmp_path / name)
        results = classifier(test_images, views=classifier.crops, max_pixels=ENOUGH)
        np.testing.assert_allclose(results, rows(folder / "test.h5"), atol=1e-5)


def test_bytes_paths_and_arrays_are_the_same_image(
    members: dict[str, Path], test_images: list[Path], tmp_path: Path
) -> None:
    bundle.write(tmp_path / "bundle", {"logistic": members["logistic"]}, WEIGHTS, "center")
    classifier = Classifier(tmp_path / "bundle")
    path = test_images[0]
    same = [path, path.read_bytes(), np.asarray(Image.open(path))]
    results = classifier(same, views="center", max_pixels=ENOUGH)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])
    assert classifier([], views="center", max_pixels=ENOUGH).shape == (0, 3)


def test_a_bundle_holds_what_predicts_and_nothing_else(members: dict[str, Path], tmp_path: Path) -> None:
    bundle.write(tmp_path / "bundle", members, WEIGHTS, "center")
    files = {path.relative_to(tmp_path / "bundle").as_posix() for path in (tmp_path / "bundle").rglob("*.*")}
    assert files == {
        "spec.json",
        "members/patchy/model.keras",
        "members/patchy/spec.json",
        "members/logistic/model.skops",
        "members/logistic/spec.json",
    }
    spec = read_json(tmp_path / "bundle" / "spec.json")
    assert spec["resize"] == RESIZE
    assert [member["weight"] for member in spec["members"]] == [0.25, 0.75]
    assert [member["extractor"] for member in spec["members"]] == [None, {"name": "pixels", "kind": "pixels"}]


def test_the_weights_of_an_extractor_travel_with_the_model(
    tracked: Path, project: Any, images: Any, tmp_path: Path
) -> None:
    source = images()
    project.ingest()
    project.resize(size=[32, 32])
    project.mean()
    project.pack()
    file = tmp_path / "backbone.weights.h5"
    keras.utils.set_random_seed(1)
    keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3)).save_weights(file)
    params = keras_applications.Params(kind="keras_applications", backbone="MobileNet", weights=str(file))
    extract("mobilenet", params=params, packed=project.packed, features=tmp_path / "features")
    values = MODELS["hog_logistic"] | {"input": "features/mobilenet", "c": [1.0]}
    paths = {"data": tmp_path / "features", "model": tmp_path / "model"}
    train("on_top", params=logistic_regression.Params.model_validate(values), recipe="tiny", **paths)
    predict("on_top", params=Predict(crops="center"), **paths, predictions=tmp_path / "predictions")

    bundle.write(tmp_path / "bundle", {"on_top": paths["model"]}, {"on_top": 1.0}, "center")
    file.unlink()
    path_of = {row.id: source / row.path for row in Manifest.read(project.manifest).rows()}
    with Reader(tmp_path / "predictions" / "test.h5") as expected:
        files = [path_of[identity] for identity in expected.ids.tolist()]
        results = Classifier(tmp_path / "bundle")(files, views="center", max_pixels=ENOUGH)
        np.testing.assert_allclose(results, expected.read(0, len(expected)), atol=1e-5)


def test_members_of_other_images_are_not_bundled(members: dict[str, Path], tmp_path: Path) -> None:
    second_folder = tmp_path / "other"
    spec = read_json(members["logistic"] / "spec.json")
    spec["provenance"]["resize"]["size"] = [32, 32]
    second_folder.mkdir()
    write_json(second_folder / "spec.json", spec)
    with pytest.raises(
        ServingError, match=r"other is of other classes or sizes than other members; run train again"
    ):
        bundle.write(
            tmp_path / "bundle", members | {"other": second_folder}, WEIGHTS | {"other": 1}, "center"
        )
    with pytest.raises(ServingError, match=r"nowhere holds no member of this version"):
        bundle.write(tmp_path / "bundle2", {"nowhere": tmp_path / "nowhere"}, {"nowhere": 1}, "center")


def test_a_folder_without_a_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="holds no model of this version"):
        Classifier(tmp_path)


def png(height: int, width: int) -> bytes:
    _, data = cv2.imencode(".png", np.full((height, width, 3), 200, np.uint8))
    return data.tobytes()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"no image", "not an image in one of the formats"),
        (png(40, 40)[:-30], "damaged PNG"),
        (png(40, 41), "41x40 pixels are more than the 1600 allowed"),
        (np.zeros((40, 41), np.uint8), "41x40 pixels are more than the 1600 allowed"),
        (np.zeros((4, 4, 4), np.uint8), r"is an array uint8\(4, 4, 4\); must be uint8"),
        (np.zeros((4, 4), np.float32), r"is an array float32\(4, 4\); must be uint8"),
        (np.zeros((0, 4, 3), np.uint8), "is an array"),
        (Path("nowhere.png"), "cannot be read: No such file or directory"),
        ("/etc/passwd", "is a str; must be an image file's bytes"),
        (None, "is a NoneType; must be"),
    ],
)
def test_an_unusable_image_is_refused_with_the_reason(data: Any, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        intake.prepared(data, RESIZE, max_pixels=1600)


def test_arrays_take_the_colours_that_the_members_read() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    red = np.zeros((16, 16, 3), np.uint8)
    red[:, :, 0] = 255
    assert np.array_equal(intake.prepared(gray, RESIZE, 1600), np.repeat(gray[:, :, None], 3, axis=2))
    assert np.array_equal(intake.prepared(red, RESIZE, 1600), red)
    in_gray = RESIZE | {"color": "gray"}
    assert np.array_equal(intake.prepared(gray[:, :, None], in_gray, 1600), gray[:, :, None])
    assert np.unique(intake.prepared(red, in_gray, 1600)).tolist() == [76]
