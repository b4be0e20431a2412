"""Networks of keras.applications take uint8 images and preprocess them as their authors did."""

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from stages.common.errors import ParamsError
from stages.models import backbones, networks

SHAPE = (32, 32, 3)
SMALL = {"alpha": 0.35}


def images(channels: int = 3) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (2, 32, 32, channels), np.uint8)


def convolutions(network: keras.Model) -> list[str]:
    return [layer.name for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]


# One of each way: to -1-1; means of BGR; nothing outside, as the network brings its own layers.
@pytest.mark.parametrize("name", ["MobileNetV2", "VGG16", "MobileNetV3Small"])
def test_a_backbone_is_keras_network_behind_its_preprocessing(name: str, tmp_path: Path) -> None:
    constructor = getattr(keras.applications, name)
    keras_own = constructor(include_top=False, weights=None, input_shape=SHAPE)
    keras_own.save_weights(tmp_path / "own.weights.h5")
    ours = backbones.feature_network(name, SHAPE, str(tmp_path / "own.weights.h5"))

    prepared = sys.modules[constructor.__module__].preprocess_input(images().astype(np.float32))
    # Called and not `predict`, which traces a graph first.
    expected = np.asarray(keras_own(prepared, training=False))
    assert ours.input.dtype == "uint8"
    np.testing.assert_allclose(np.asarray(ours(images(), training=False)), expected, atol=1e-5)
    # The layers carry Keras' names, so that some of them can be frozen.
    assert convolutions(keras_own) == convolutions(ours)


def test_any_spelling_names_a_backbone_and_gray_images_are_repeated() -> None:
    gray = backbones.feature_network("mobilenet_v2", (32, 32, 1), None, options=SMALL)
    assert gray.output_shape == (None, 1, 1, 1280)
    assert gray.predict_on_batch(images(1)).shape == (2, 1, 1, 1280)


def test_it_is_a_network_like_any_other_and_survives_saving(tmp_path: Path) -> None:
    options = networks.options("keras_applications")(
        backbone="MobileNetV2", backbone_options=SMALL, dropout=0.2
    )
    network = networks.build("keras_applications", SHAPE, 4, None, options)
    probabilities = np.asarray(network.predict_on_batch(images()))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert not [layer for layer in network.layers if layer.name in {"scale", "standardize"}]
    network.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(np.asarray(again.predict_on_batch(images())), probabilities)


@pytest.mark.parametrize(
    ("name", "weights", "options", "message"),
    [
        ("VGG17", None, {}, "keras.applications has no network 'VGG17'; allowed: ConvNeXtBase, "),
        ("VGG16", "nowhere.h5", {}, "weights 'nowhere.h5' are neither 'imagenet' nor a file"),
        ("VGG16", None, {"alpha": 0.5}, "VGG16 with images of 32x32x3 cannot be built: "),
        ("InceptionV3", None, {}, "InceptionV3 with images of 32x32x3 cannot be built: "),
    ],
)
def test_arguments_that_keras_refuses_are_refused_in_one_line(
    name: str, weights: str | None, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParamsError) as caught:
        backbones.feature_network(name, SHAPE, weights, options=options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_refused_in_one_line(tmp_path: Path) -> None:
    narrower = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=SHAPE, alpha=0.35)
    narrower.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(ParamsError, match="MobileNetV2 with images of 32x32x3 cannot be built: "):
        backbones.feature_network(
            "MobileNetV2", SHAPE, str(tmp_path / "other.weights.h5"), options={"alpha": 0.5}
        )
