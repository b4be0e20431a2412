"""The networks are those of the books, complete with their normalization."""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from stages.common import plugins
from stages.common.errors import LearnerError
from stages.models import networks
from stages.models.learners import cnn

NAMES = networks.names()
FILTERS = {1: [16, 16, 32, 64], 2: [16, 64, 128, 256], 3: [64, 64, 128, 256]}
TINY = {"stages": [3, 4, 6], "filters": [64, 128, 256, 512], "stem": "tiny_imagenet"}
COUNTS = [
    ("shallownet", (32, 32, 3), 3, {}, 99_203),
    ("shallownet", (32, 32, 3), 10, {}, 328_586),
    ("lenet", (28, 28, 1), 10, {}, 1_256_080),
    ("lenet", (28, 28, 1), 9, {}, 1_255_579),
    ("lenet", (28, 28, 1), 2, {}, 1_252_072),
    ("lenet5", (28, 28, 1), 10, {}, 61_706),
    ("mlp", (28, 28, 1), 10, {}, 235_146),
    ("mlp", (32, 32, 3), 10, {"widths": [1024, 512], "activation": "relu"}, 3_676_682),
    ("minivggnet", (32, 32, 3), 10, {}, 2_171_178),
    ("minivggnet", (32, 32, 3), 10, {"batch_normalization": False}, 2_168_362),
    ("minivggnet", (64, 64, 3), 17, {}, 8_466_225),
    ("alexnet", (227, 227, 3), 2, {}, 58_327_810),
    ("alexnet", (227, 227, 3), 1000, {}, 62_416_616),
    ("alexnet2012", (227, 227, 3), 1000, {}, 62_383_848),
    ("vgg11", (224, 224, 3), 1000, {}, 132_863_336),
    ("vgg13", (224, 224, 3), 1000, {}, 133_047_848),
    ("vgg16", (224, 224, 3), 1000, {}, 138_357_544),
    ("vgg16", (224, 224, 3), 1000, {"configuration": "C"}, 133_638_952),
    ("vgg19", (224, 224, 3), 1000, {}, 143_667_240),
    ("googlenet", (224, 224, 3), 1000, {}, 6_998_552),
    ("minigooglenet", (32, 32, 3), 10, {}, 1_656_250),
    ("deepergooglenet", (64, 64, 3), 200, {}, 3_667_976),
    ("deepergooglenet", (64, 64, 3), 200, {"stage4": False}, 773_752),
    ("resnet", (32, 32, 3), 10, {"filters": FILTERS[1]}, 60_790),
    ("resnet", (32, 32, 3), 10, {"filters": FILTERS[2]}, 880_774),
    ("resnet", (32, 32, 3), 10, {"filters": FILTERS[3]}, 886_102),
    ("resnet", (64, 64, 3), 200, TINY, 2_265_748),
    ("resnet50", (224, 224, 3), 1000, {}, 25_636_712),
    ("resnet50", (32, 32, 3), 10, {}, 23_608_202),
]
TRAINED = [
    ("minivggnet", (32, 32, 3), 10, 2_169_770),
    ("alexnet2012", (227, 227, 3), 1000, 62_381_096),
    ("minigooglenet", (32, 32, 3), 10, 1_652_826),
    ("deepergooglenet", (64, 64, 3), 200, 3_657_992),
]
# Name, options → the shapes behind convolutions, poolings, concatenations, sums and dense layers.
TABLES: dict[str, tuple[dict[str, Any], list[tuple[int, ...]]]] = {
    "shallownet": ({}, [(32, 32, 32), (10,)]),
    "lenet": ({}, [(28, 28, 20), (14, 14, 20), (14, 14, 50), (7, 7, 50), (500,), (10,)]),
    "lenet5": (
        {},
        [(28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16), (1, 1, 120), (84,), (10,)],
    ),
    "minivggnet": (
        {},
        [*[(32, 32, 32)] * 2, (16, 16, 32), *[(16, 16, 64)] * 2, (8, 8, 64), (512,), (10,)],
    ),
    "mlp": ({}, [(256,), (128,), (10,)]),
    "alexnet": (
        {},
        [
            *[(57, 57, 96), (28, 28, 96), (28, 28, 256), (13, 13, 256)],
            *[(13, 13, 384), (13, 13, 384), (13, 13, 256), (6, 6, 256)],
            *[(4096,), (4096,), (1000,)],
        ],
    ),
    "alexnet2012": (
        {},
        [
            *[(55, 55, 96), (27, 27, 96), (27, 27, 256), (13, 13, 256)],
            *[(13, 13, 384), (13, 13, 384), (13, 13, 256), (6, 6, 256)],
            *[(4096,), (4096,), (1000,)],
        ],
    ),
    "vgg11": (
        {},
        [
            *[(224, 224, 64), (112, 112, 64), (112, 112, 128), (56, 56, 128)],
            *[*[(56, 56, 256)] * 2, (28, 28, 256), *[(28, 28, 512)] * 2, (14, 14, 512)],
            *[*[(14, 14, 512)] * 2, (7, 7, 512), (4096,), (4096,), (1000,)],
        ],
    ),
    "vgg13": (
        {},
        [
            *[*[(224, 224, 64)] * 2, (112, 112, 64), *[(112, 112, 128)] * 2, (56, 56, 128)],
            *[*[(56, 56, 256)] * 2, (28, 28, 256), *[(28, 28, 512)] * 2, (14, 14, 512)],
            *[*[(14, 14, 512)] * 2, (7, 7, 512), (4096,), (4096,), (1000,)],
        ],
    ),
    "vgg16": (
        {},
        [
            *[*[(224, 224, 64)] * 2, (112, 112, 64), *[(112, 112, 128)] * 2, (56, 56, 128)],
            *[*[(56, 56, 256)] * 3, (28, 28, 256), *[(28, 28, 512)] * 3, (14, 14, 512)],
            *[*[(14, 14, 512)] * 3, (7, 7, 512), (4096,), (4096,), (1000,)],
        ],
    ),
    "vgg19": (
        {},
        [
            *[*[(224, 224, 64)] * 2, (112, 112, 64), *[(112, 112, 128)] * 2, (56, 56, 128)],
            *[*[(56, 56, 256)] * 4, (28, 28, 256), *[(28, 28, 512)] * 4, (14, 14, 512)],
            *[*[(14, 14, 512)] * 4, (7, 7, 512), (4096,), (4096,), (1000,)],
        ],
    ),
}
# The volumes between modules, as the books' tables list them: name, options → (class of layer, shapes).
MODULES: dict[str, tuple[dict[str, Any], tuple[str, ...], list[tuple[int, ...]]]] = {
    "googlenet": (
        {},
        ("Concatenate", "GlobalAveragePooling2D"),
        [
            *[(28, 28, 256), (28, 28, 480), (14, 14, 512), (14, 14, 512), (14, 14, 512), (14, 14, 528)],
            *[(14, 14, 832), (7, 7, 832), (7, 7, 1024), (1024,)],
        ],
    ),
    "minigooglenet": (
        {},
        ("Concatenate", "GlobalAveragePooling2D"),
        [
            *[(32, 32, 64), (32, 32, 80), (15, 15, 160), (15, 15, 160), (15, 15, 160), (15, 15, 160)],
            *[(15, 15, 144), (7, 7, 240), (7, 7, 336), (7, 7, 336), (336,)],
        ],
    ),
    "deepergooglenet": (
        {},
        ("Concatenate", "GlobalAveragePooling2D"),
        [
            *[(16, 16, 256), (16, 16, 480), (8, 8, 512), (8, 8, 512), (8, 8, 512), (8, 8, 528)],
            *[(8, 8, 832), (832,)],
        ],
    ),
    "resnet": (
        {},
        ("Add", "GlobalAveragePooling2D"),
        [*[(32, 32, 64)] * 9, *[(16, 16, 128)] * 9, *[(8, 8, 256)] * 9, (256,)],
    ),
    "resnet50": (
        {},
        ("Add", "GlobalAveragePooling2D"),
        [*[(54, 54, 256)] * 3, *[(27, 27, 512)] * 4, *[(14, 14, 1024)] * 6, *[(7, 7, 2048)] * 3, (2048,)],
    ),
}


@pytest.fixture(autouse=True)
def _forget_unfilled_weights() -> Iterator[None]:
    yield
    keras.utils.clear_session()


def unfilled(name: str, shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> keras.Model:
    """The network without values for its weights: hundreds of millions of them cost nothing."""
    with keras.StatelessScope(initialize_variables=False):
        return networks.build(name, shape, classes, None, networks.options(name).model_validate(options))


def default(name: str, options: dict[str, Any]) -> keras.Model:
    module = plugins.module("stages.models.networks", name)
    return unfilled(name, module.SHAPE, module.CLASSES, options)


@pytest.mark.parametrize(("name", "shape", "classes", "options", "weights"), COUNTS)
def test_a_network_has_the_books_number_of_weights(
    name: str, shape: tuple[int, ...], classes: int, options: dict[str, Any], weights: int
) -> None:
    assert unfilled(name, shape, classes, options).count_params() == weights


@pytest.mark.parametrize(("name", "shape", "classes", "trained"), TRAINED)
def test_the_statistics_of_batch_normalization_are_not_trained(
    name: str, shape: tuple[int, ...], classes: int, trained: int
) -> None:
    network = unfilled(name, shape, classes, {})
    assert sum(prod(weight.shape) for weight in network.trainable_weights) == trained


def test_every_network_has_its_table_here() -> None:
    assert {*TABLES, *MODULES, "keras_applications"} == set(NAMES)


@pytest.mark.parametrize("name", TABLES)
def test_layers_have_the_books_shapes(name: str) -> None:
    options, expected = TABLES[name]
    shaping = ("Conv2D", "MaxPooling2D", "AveragePooling2D", "Dense")
    layers = [layer for layer in default(name, options).layers if type(layer).__name__ in shaping]
    assert [layer.output.shape[1:] for layer in layers] == expected


@pytest.mark.parametrize("name", MODULES)
def test_modules_have_the_books_shapes(name: str) -> None:
    options, shaping, expected = MODULES[name]
    layers = [layer for layer in default(name, options).layers if type(layer).__name__ in shaping]
    assert [layer.output.shape[1:] for layer in layers] == expected


def test_resnet_has_85_convolutions_without_bias_and_batch_normalization_as_in_the_book() -> None:
    network = default("resnet", {})
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == 85
    assert not any(layer.use_bias for layer in convolutions)
    normalizing = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(layer.epsilon, layer.momentum) for layer in normalizing} == {(2e-5, 0.9)}


@pytest.mark.parametrize(
    ("options", "strengths"),
    [({"reg": 5e-4}, {5e-4: 86}), ({"reg": 5e-4, "residual_reg": 1e-4}, {5e-4: 2, 1e-4: 84})],
)
def test_the_books_resnet_penalizes_its_residual_modules_by_less(
    options: dict[str, Any], strengths: dict[float, int]
) -> None:
    counts: dict[float, int] = {}
    for layer in default("resnet", options).layers:
        if (penalty := getattr(layer, "kernel_regularizer", None)) is not None:
            strength = round(float(penalty.l2), 7)
            counts[strength] = counts.get(strength, 0) + 1
    assert counts == strengths


@pytest.mark.parametrize(
    ("name", "penalized"),
    [("alexnet", 8), ("alexnet2012", 4), ("vgg16", 0), ("deepergooglenet", 46), ("minigooglenet", 0)],
)
def test_l2_penalizes_the_layers_that_the_books_penalize(name: str, penalized: int) -> None:
    penalties = [getattr(layer, "kernel_regularizer", None) for layer in default(name, {}).layers]
    assert sum(penalty is not None for penalty in penalties) == penalized


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"alexnet", "alexnet2012", "keras_applications"}))
def test_uint8_images_of_any_size_go_in_and_probabilities_come_out(name: str) -> None:
    narrow = {"mlp": {"widths": [4]}, "resnet": {"stages": [1, 1], "filters": [4, 4, 8]}}.get(name, {})
    network = networks.build(name, (48, 40, 3), 4, None, networks.options(name).model_validate(narrow))
    assert network.input.dtype == "uint8"
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 40, 3), np.uint8)
    # Called and not `predict`, which traces a graph first.
    probabilities = np.asarray(network(images, training=False))
    assert probabilities.shape == (3, 4)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def normalized(value: int, statistics: dict[str, list[float]] | None) -> list[float]:
    """What the layers behind the normalization see of an image of one value."""
    network = networks.build("shallownet", (4, 4, 3), 2, statistics)
    layer = network.get_layer("standardize" if statistics else "scale")
    inner = keras.Model(network.input, layer.output)
    output = np.asarray(inner.predict_on_batch(np.full((1, 4, 4, 3), value, np.uint8)))
    assert np.all(output == output[:, :1, :1])
    return output[0, 0, 0].tolist()


def test_scaling_brings_pixels_to_0_1() -> None:
    assert normalized(255, None) == pytest.approx([1, 1, 1])
    assert normalized(51, None) == pytest.approx([0.2, 0.2, 0.2])


def test_standardizing_subtracts_the_mean_and_divides_by_the_deviation_of_each_channel() -> None:
    statistics = {"mean": [100.0, 150.0, 0.0], "std": [50.0, 25.0, 10.0]}
    assert normalized(200, statistics) == pytest.approx([2, 2, 20])
    assert normalized(0, statistics) == pytest.approx([-2, -6, 0])


def test_a_channel_that_never_varies_is_not_divided_by_zero() -> None:
    assert normalized(9, {"mean": [7.0, 9.0, 9.0], "std": [0.0, 0.0, 0.0]}) == pytest.approx([2, 0, 0])


@pytest.mark.parametrize(
    ("name", "pixels"),
    [("lenet", 3), ("minivggnet", 3), ("lenet5", 20), ("alexnet", 32), ("alexnet2012", 32), ("vgg16", 16)],
)
def test_images_too_small_for_the_poolings_are_refused_in_one_line(name: str, pixels: int) -> None:
    with pytest.raises(LearnerError, match=f"{name} cannot take images of {pixels}x{pixels}x1: ") as caught:
        unfilled(name, (pixels, pixels, 1), 2, {})
    text = str(caught.value)
    assert "\n" not in text
    # Keras' message has colours, and ends with the layer's arguments.
    assert "\x1b" not in text
    assert "Arguments received" not in text
    assert len(text) < 250


def test_a_saved_network_gives_the_same_probabilities(tmp_path: Path) -> None:
    statistics = {"mean": [100.0], "std": [50.0]}
    network = cnn.Network(networks.build("minivggnet", (8, 8, 1), 3, statistics), None)
    network.save(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)
    np.testing.assert_array_equal(cnn.load(tmp_path).predict_proba(images), network.predict_proba(images))
