"""Every recipe, one step of every member, on a handful of generated images.

What is made smaller: the source (three classes of eight images), sizes (32 pixels, or the least that the
network takes), training (one batch of all), the stages and filters of ResNet, and ImageNet's weights, which
tests do not download: a file of random ones of the same network takes their place. TensorFlow computes
operation by operation: tracing graphs for one step took most of the time.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf

from stages.data.store import Reader
from stages.extract import extract
from stages.models import learners
from stages.params import PACKED, Params, Resize
from tests.paths import ROOT
from tests.project import Project, write_images

pytestmark = [
    pytest.mark.slow,
    # Operation by operation, a tracer adds a third; other tests have the same lines.
    pytest.mark.no_cover,
    pytest.mark.usefixtures("operation_by_operation"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`"),
]

RECIPES = sorted(path.stem for path in (ROOT / "conf" / "recipe").glob("*.yaml"))
CLASSES = 3
# Pixels: 32, but for these.
LARGER = {"lenet5": 28, "alexnet": 64, "alexnet2012": 72, "googlenet": 64}


def composed(recipe: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base=None):
        composed = hydra.compose("config", [f"recipe={recipe}"])
    OmegaConf.resolve(composed)
    values: dict[str, Any] = yaml.safe_load(OmegaConf.to_yaml(composed))
    return values


def pixels(values: dict[str, Any]) -> int:
    """The side of the images, as one member at least needs it."""
    networks = [model.get("network", "") for model in values["models"].values()]
    return max(LARGER.get(network, 32) for network in networks)


def shrunk(values: dict[str, Any], weights: Callable[[str, dict[str, Any]], Path]) -> Params:
    """The recipe in small; see the top of this file."""
    side = pixels(values)
    patched = any(model.get("patch") for model in values["models"].values())
    values["resize"]["size"] = [side + 8 * patched] * 2
    for extractor in values["extractors"].values():
        if extractor["kind"] == "keras_applications":
            extractor |= {
                "weights": str(weights(extractor["backbone"], extractor.get("options", {}))),
                "sha256": None,
            }
    for model in values["models"].values():
        if model.get("patch"):
            model["patch"] = [side, side]
        if model.get("network") == "resnet":
            stages = len(model["options"]["stages"])
            model["options"] |= {"stages": [1] * stages, "filters": [8] * (stages + 1)}
        if "body" in model:
            body = model["body"]
            body |= {"weights": str(weights(body["backbone"], body["options"])), "sha256": None}
        shorten(model)
    return Params.model_validate(values)


def shorten(section: dict[str, Any]) -> None:
    """One epoch of one batch, wherever the section says otherwise."""
    for key, value in section.items():
        if isinstance(value, dict):
            shorten(value)
        elif key == "epochs" and value:
            section[key] = 1
        elif key == "batch_size":
            section[key] = 32
        elif key == "folds":
            section[key] = 2


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, dict[str, Any]], Path]:
    """Random weights of a backbone, in a file as ImageNet's come."""
    import keras

    folder = tmp_path_factory.mktemp("weights")

    def file(backbone: str, options: dict[str, Any]) -> Path:
        words = "-".join(f"{name}={value}" for name, value in options.items())
        path = folder / f"{backbone}{words}.weights.h5"
        if not path.exists():
            build = getattr(keras.applications, backbone)
            build(include_top=False, weights=None, input_shape=(32, 32, 3), **options).save_weights(path)
        return path

    return file


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Resize], Path]:
    """The images packed as a recipe resizes them; recipes of one size share them."""
    root = tmp_path_factory.mktemp("recipes")
    source = write_images(root / "source", {f"class{number}": 8 for number in range(CLASSES)}, size=(40, 44))
    projects: dict[str, Project] = {}

    def packed_images(resize: Resize) -> Path:
        key = resize.model_dump_json()
        if key not in projects:
            project = projects[key] = Project(root / str(len(projects)), source)
            project.ingest(val_fraction=0.25, test_fraction=0.25, near_duplicates={"distance": None})
            project.resize(**resize.model_dump())
            project.mean()
            project.pack()
        return projects[key].packed

    return packed_images


@pytest.fixture(scope="session")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any, Path], Path]:
    """The features of packed images; recipes with the same extractor and images share them."""
    root = tmp_path_factory.mktemp("features")
    folders: dict[tuple[str, Path], Path] = {}

    def features(extractor: Any, images: Path) -> Path:
        key = (extractor.model_dump_json(), images)
        if key not in folders:
            folders[key] = root / str(len(folders))
            extract("shared", params=extractor, packed=images, features=folders[key])
        return folders[key]

    return features


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_member_of_the_recipe_takes_a_step_and_predicts(
    recipe: str, packed: Callable[[Resize], Path], extracted: Callable[[Any, Path], Path], weights: Any
) -> None:
    checked = shrunk(composed(recipe), weights)
    images = packed(checked.resize)
    inputs = {PACKED: images}
    for name, extractor in checked.extractors.items():
        inputs[f"features/{name}"] = extracted(extractor, images)

    distinct = {
        model.model_dump_json(exclude={"train": {"seed"}}): model for model in checked.models.values()
    }
    for model in distinct.values():
        folder = inputs[model.input]
        with Reader(folder / "train.h5") as train, Reader(folder / "val.h5") as val:
            learner = learners.create(model)
            learner.fit(train, val, lambda *_: None)
            probabilities = learners.predict_all(learner, val)
        assert probabilities.shape == (len(val), CLASSES)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)
