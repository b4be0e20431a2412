"""Backbones of keras.applications, with weights that are random but in files like the real ones."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from stages import extractors
from stages.errors import ParamsError
from stages.extractors import keras_applications
from stages.files import digest

SHAPE = (32, 32, 3)
PICTURES = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a MobileNetV2 of a third of the width, without its top."""
    path = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    keras.utils.set_random_seed(1)
    keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=SHAPE, alpha=0.35
    ).save_weights(path)
    return path


def params(weights: Path | str, **changes: Any) -> keras_applications.Params:
    values = {"kind": "keras_applications", "backbone": "MobileNetV2", "options": {"alpha": 0.35}}
    return keras_applications.Params.model_validate(values | {"weights": str(weights)} | changes)


def features(weights: Path, pictures: np.ndarray = PICTURES, **changes: Any) -> np.ndarray:
    return extractors.prepare(params(weights, **changes), pictures.shape[1:])(pictures)


def test_features_are_those_of_the_file_with_the_networks_own_preprocessing(weights: Path) -> None:
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=SHAPE, alpha=0.35)
    network.load_weights(weights)
    maps = np.asarray(network.predict_on_batch(PICTURES.astype(np.float32) / 127.5 - 1))
    found = features(weights, backbone="mobilenet_v2")
    assert found.dtype == np.float32
    assert found.shape == (2, 1280)
    np.testing.assert_allclose(found, maps.mean(axis=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(features(weights, pooling="max"), maps.max(axis=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(features(weights, pooling="flatten"), maps.reshape(2, -1), atol=1e-5)


def test_another_network_gets_its_own_preprocessing(tmp_path: Path) -> None:
    file = tmp_path / "vgg.weights.h5"
    network = keras.applications.VGG16(include_top=False, weights=None, input_shape=SHAPE, pooling="avg")
    network.save_weights(file)
    # VGG16 was trained on BGR values around the means of ImageNet.
    prepared = PICTURES[..., ::-1].astype(np.float32) - np.array([103.939, 116.779, 123.68], np.float32)
    expected = np.asarray(network.predict_on_batch(prepared))
    np.testing.assert_allclose(features(file, backbone="vgg16", options={}), expected, rtol=1e-4, atol=1e-6)


def test_gray_pictures_are_taken_as_colour(weights: Path) -> None:
    gray = PICTURES[..., :1]
    np.testing.assert_array_equal(features(weights, gray), features(weights, np.repeat(gray, 3, axis=3)))


def test_mirrored_features_do_not_know_left_from_right(weights: Path) -> None:
    mirrored = np.ascontiguousarray(PICTURES[:, :, ::-1])
    assert np.abs(features(weights) - features(weights, mirrored)).max() > 1e-4
    once = features(weights, mirror=True)
    np.testing.assert_allclose(once, features(weights, mirrored, mirror=True), atol=1e-5)
    np.testing.assert_allclose(once, (features(weights) + features(weights, mirrored)) / 2, atol=1e-5)


def test_the_stated_sha256_is_checked(weights: Path) -> None:
    assert features(weights, sha256=digest(weights)).shape == (2, 1280)
    with pytest.raises(ParamsError, match=rf"have sha256 {digest(weights)}, the params ask for 0{{64}}"):
        features(weights, sha256="0" * 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "ResNet9000"}, r"no network 'ResNet9000'; allowed: .*MobileNetV2.*VGG16"),
        ({"options": {"alpha": 0.5}}, "MobileNetV2 with input .* cannot be built"),
        ({"options": {"colour": 1}}, "MobileNetV2 with input .* cannot be built: .*colour"),
        ({"backbone": "VGG16", "options": {}}, "VGG16 with input .* cannot be built"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(
    weights: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParamsError, match=message) as caught:
        features(weights, **changes)
    assert "\n" not in str(caught.value)


def test_a_picture_smaller_than_the_network_takes_is_refused(weights: Path) -> None:
    with pytest.raises(ParamsError, match="cannot be built: .*32"):
        features(weights, PICTURES[:, :16, :16])


def test_weights_that_are_no_file_or_no_weights(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"nowhere.h5' are neither 'imagenet' nor a file that exists"):
        features(tmp_path / "nowhere.h5")
    (tmp_path / "text.weights.h5").write_text("no weights")
    with pytest.raises(ParamsError, match="cannot be built"):
        features(tmp_path / "text.weights.h5")


def test_a_download_that_fails_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(keras.src.utils.file_utils.config, "keras_home", lambda: str(tmp_path))
    with pytest.raises(ParamsError, match="MobileNetV2 with input .* cannot be built: .*URL fetch failure"):
        features("imagenet")
