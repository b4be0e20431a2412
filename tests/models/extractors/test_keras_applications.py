"""Backbones of keras.applications, with weights that are random but in files like the real ones."""

import shutil
import sys
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from stages.common.errors import DownloadError, ParamsError
from stages.common.files import digest
from stages.models import extractors
from stages.models.extractors import keras_applications
from stages.models.protocols import Extract

SHAPE = (32, 32, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), np.uint8)
MIRRORED = np.ascontiguousarray(IMAGES[:, :, ::-1])


def build(name: str, **options: Any) -> keras.Model:
    """A network without its top and with random weights."""
    keras.utils.set_random_seed(1)
    return getattr(keras.applications, name)(include_top=False, weights=None, input_shape=SHAPE, **options)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return build("MobileNetV2", alpha=0.35)


@pytest.fixture(scope="module")
def weights(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a MobileNetV2 of a third of the width, without its top."""
    path = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    network.save_weights(path)
    return path


def prepare(weights: Path | str, shape: tuple[int, ...] = SHAPE, **changes: Any) -> Extract:
    values = {"kind": "keras_applications", "backbone": "MobileNetV2", "options": {"alpha": 0.35}}
    params = keras_applications.Params.model_validate(values | {"weights": str(weights)} | changes)
    return extractors.prepare(params, shape)


@pytest.fixture(scope="module")
def averaged(weights: Path) -> Extract:
    """The extractor of most tests, built once."""
    return prepare(weights, backbone="mobilenet_v2", sha256=digest(weights))


def differ(actual: np.ndarray, expected: np.ndarray) -> float:
    """By how much, as a share of the largest value: features of random weights are tiny."""
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def test_features_are_those_of_the_file_with_the_networks_own_preprocessing(
    network: keras.Model, weights: Path, averaged: Extract
) -> None:
    maps = np.asarray(network.predict_on_batch(IMAGES.astype(np.float32) / 127.5 - 1))
    actual = averaged(IMAGES)
    assert actual.dtype == np.float32
    assert actual.shape == (2, 1280)
    assert differ(actual, maps.mean(axis=(1, 2))) < 1e-4
    assert differ(prepare(weights, pooling="flatten")(IMAGES), maps.reshape(2, -1)) < 1e-4


def test_another_network_gets_its_own_preprocessing(tmp_path: Path) -> None:
    file = tmp_path / "vgg.weights.h5"
    network = build("VGG16", pooling="avg")
    network.save_weights(file)
    # VGG16 was trained on BGR values around the means of ImageNet.
    prepared = IMAGES[..., ::-1].astype(np.float32) - np.array([103.939, 116.779, 123.68], np.float32)
    expected = np.asarray(network.predict_on_batch(prepared))
    assert differ(prepare(file, backbone="vgg16", options={})(IMAGES), expected) < 1e-4


def test_gray_images_are_taken_as_colour(weights: Path, averaged: Extract) -> None:
    gray = IMAGES[..., :1]
    of_gray = prepare(weights, (32, 32, 1))(gray)
    np.testing.assert_array_equal(of_gray, averaged(np.repeat(gray, 3, axis=3)))


def test_features_of_a_chosen_layer(network: keras.Model, weights: Path) -> None:
    layer = network.get_layer("block_3_expand_relu").output
    maps = np.asarray(keras.Model(network.input, layer)(IMAGES.astype(np.float32) / 127.5 - 1))
    chosen = prepare(weights, layer="block_3_expand_relu")(IMAGES)
    assert chosen.shape == (2, maps.shape[-1])
    assert differ(chosen, maps.mean(axis=(1, 2))) < 1e-4


def test_a_layer_that_the_network_lacks_is_refused_with_similar_names(weights: Path) -> None:
    with pytest.raises(ParamsError, match=r"has no layer 'block_3_exp'; similar names: .*block_3_expand"):
        prepare(weights, layer="block_3_exp")


def test_mirrored_features_are_the_same_for_mirrored_images(weights: Path, averaged: Extract) -> None:
    assert differ(averaged(IMAGES), averaged(MIRRORED)) > 0.01
    features = prepare(weights, mirror=True)(IMAGES)
    assert differ(features, (averaged(IMAGES) + averaged(MIRRORED)) / 2) < 1e-4


def test_another_file_than_the_stated_one_is_refused(weights: Path) -> None:
    with pytest.raises(ParamsError, match=rf"have sha256 {digest(weights)}; the params state 0{{64}}"):
        prepare(weights, sha256="0" * 64)


def test_saved_imagenet_weights_are_used_whatever_digest_the_params_state(
    weights: Path, averaged: Extract, tmp_path: Path
) -> None:
    """The digest is of a file, such as that of conf/extractor/mobilenet_v2.yaml."""
    shutil.copy(weights, tmp_path / "backbone.weights.h5")
    params = keras_applications.Params(
        kind="keras_applications",
        backbone="MobileNetV2",
        weights="imagenet",
        sha256="0" * 64,
        options={"alpha": 0.35},
    )
    extract = extractors.prepare(keras_applications.with_saved_weights(params, tmp_path), SHAPE)
    np.testing.assert_array_equal(extract(IMAGES), averaged(IMAGES))


def test_weights_in_the_format_of_keras_downloads_are_served_too(
    network: keras.Model, averaged: Extract, tmp_path: Path
) -> None:
    """A copy under the new format's suffix could not be read, after a training that ended well."""
    file = tmp_path / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    with h5py.File(file, "w") as downloaded:
        legacy_h5_format.save_weights_to_hdf5_group(downloaded, network)
    params = keras_applications.Params(
        kind="keras_applications", backbone="MobileNetV2", weights=str(file), options={"alpha": 0.35}
    )
    keras_applications.save_weights(params, SHAPE, tmp_path)
    extract = extractors.prepare(keras_applications.with_saved_weights(params, tmp_path), SHAPE)
    np.testing.assert_array_equal(extract(IMAGES), averaged(IMAGES))


@pytest.mark.slow
def test_features_with_imagenets_weights_are_the_same_when_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras rescales after the normalization of EfficientNetB0 with `imagenet`, and not with a file."""
    build("EfficientNetB0").save_weights(tmp_path / "downloaded.weights.h5")
    module = sys.modules[keras.applications.EfficientNetB0.__module__]
    monkeypatch.setattr(
        module.file_utils, "get_file", lambda *_, **__: str(tmp_path / "downloaded.weights.h5")
    )
    params = keras_applications.Params(
        kind="keras_applications", backbone="EfficientNetB0", weights="imagenet"
    )
    trained = extractors.prepare(params, SHAPE)(IMAGES)
    keras_applications.save_weights(params, SHAPE, tmp_path)
    served = extractors.prepare(keras_applications.with_saved_weights(params, tmp_path), SHAPE)(IMAGES)
    assert differ(served, trained) < 1e-4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "ResNet9000"}, r"no network 'ResNet9000'; allowed: .*MobileNetV2.*VGG16"),
        ({"options": {"alpha": 0.5}}, "MobileNetV2 with images of .* cannot be built"),
        ({"options": {"colour": 1}}, "MobileNetV2 with images of .* cannot be built: .*colour"),
        ({"backbone": "VGG16", "options": {}}, "VGG16 with images of .* cannot be built"),
    ],
)
def test_params_that_contradict_one_another_are_refused_in_one_line(
    weights: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParamsError, match=message) as caught:
        prepare(weights, **changes)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_an_image_smaller_than_the_network_takes_is_refused(weights: Path) -> None:
    with pytest.raises(ParamsError, match=r"cannot be built: .*32"):
        prepare(weights, (16, 16, 3))


def test_weights_that_are_no_file_or_no_weights(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"nowhere.h5' are neither 'imagenet' nor a file that exists"):
        prepare(tmp_path / "nowhere.h5")
    (tmp_path / "text.weights.h5").write_text("no weights")
    with pytest.raises(ParamsError, match="cannot be built"):
        prepare(tmp_path / "text.weights.h5")


def test_a_download_that_fails_is_no_traceback(
    tmp_path: Path, no_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.src.utils.file_utils.config, "keras_home", lambda: str(tmp_path))
    with pytest.raises(
        DownloadError, match=r"MobileNetV2 with images of .* cannot be built: .*URL fetch failure"
    ):
        prepare("imagenet")
