"""The networks are those of the book, complete with their normalization."""

from pathlib import Path

import keras
import numpy as np
import pytest

from stages import nets
from stages.errors import LearnerError
from stages.learners import cnn

COUNTS = [
    ("shallownet", (32, 32, 3), 3, 99_203),
    ("shallownet", (32, 32, 3), 10, 328_586),
    ("lenet", (28, 28, 1), 10, 1_256_080),
    ("lenet", (28, 28, 1), 9, 1_255_579),
    ("lenet", (28, 28, 1), 2, 1_252_072),
    ("minivggnet", (32, 32, 3), 10, 2_171_178),
]
SHAPES = {
    "shallownet": ((32, 32, 3), [(32, 32, 32), (32_768,), (10,)]),
    "lenet": ((28, 28, 1), [(28, 28, 20), (14, 14, 20), (14, 14, 50), (7, 7, 50), (2450,), (500,), (10,)]),
    "minivggnet": (
        (32, 32, 3),
        [
            *[(32, 32, 32)] * 4,
            *[(16, 16, 32)] * 2,
            *[(16, 16, 64)] * 4,
            *[(8, 8, 64)] * 2,
            (4096,),
            *[(512,)] * 3,
            (10,),
        ],
    ),
}


@pytest.mark.parametrize(("name", "shape", "classes", "weights"), COUNTS)
def test_a_network_has_the_books_number_of_weights(
    name: str, shape: tuple[int, ...], classes: int, weights: int
) -> None:
    assert nets.build(name, shape, classes, None).count_params() == weights


def test_batch_normalization_keeps_1408_weights_from_training() -> None:
    network = nets.build("minivggnet", (32, 32, 3), 10, None)
    assert sum(int(np.prod(one.shape)) for one in network.trainable_weights) == 2_169_770


@pytest.mark.parametrize("name", SHAPES)
def test_layers_have_the_books_shapes(name: str) -> None:
    shape, expected = SHAPES[name]
    _, scale, *layers = nets.build(name, shape, 10, None).layers
    assert scale.output.shape[1:] == shape
    assert [layer.output.shape[1:] for layer in layers] == expected


@pytest.mark.parametrize("name", SHAPES)
def test_uint8_pictures_go_in_and_probabilities_come_out(name: str) -> None:
    network = nets.build(name, (16, 16, 3), 4, None)
    assert network.input.dtype == "uint8"
    pictures = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    probabilities = np.asarray(network.predict_on_batch(pictures))
    assert probabilities.shape == (5, 4)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def normalized(value: int, statistics: dict[str, list[float]] | None) -> list[float]:
    """What the layers behind the normalization see of a picture of one value."""
    network = nets.build("shallownet", (4, 4, 3), 2, statistics)
    layer = network.get_layer("standardize" if statistics else "scale")
    inner = keras.Model(network.input, layer.output)
    seen = np.asarray(inner.predict_on_batch(np.full((1, 4, 4, 3), value, np.uint8)))
    assert np.all(seen == seen[:, :1, :1])
    return seen[0, 0, 0].tolist()


def test_scaling_brings_pixels_to_0_1() -> None:
    assert normalized(255, None) == pytest.approx([1, 1, 1])
    assert normalized(51, None) == pytest.approx([0.2, 0.2, 0.2])


def test_standardizing_subtracts_the_mean_and_divides_by_the_deviation_of_each_channel() -> None:
    statistics = {"mean": [100.0, 150.0, 0.0], "std": [50.0, 25.0, 10.0]}
    assert normalized(200, statistics) == pytest.approx([2, 2, 20])
    assert normalized(0, statistics) == pytest.approx([-2, -6, 0])


def test_a_channel_that_never_varies_is_not_divided_by_zero() -> None:
    assert normalized(9, {"mean": [7.0, 9.0, 9.0], "std": [0.0, 0.0, 0.0]}) == pytest.approx([2, 0, 0])


@pytest.mark.parametrize("name", ["lenet", "minivggnet"])
def test_pictures_too_small_for_the_poolings_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(LearnerError, match=f"{name} cannot take pictures of 3x3x1: ") as caught:
        nets.build(name, (3, 3, 1), 2, None)
    assert "\n" not in str(caught.value)


def test_a_saved_network_gives_the_same_probabilities(tmp_path: Path) -> None:
    statistics = {"mean": [100.0], "std": [50.0]}
    network = cnn.Network(nets.build("minivggnet", (8, 8, 1), 3, statistics), None)
    network.save(tmp_path)
    pictures = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)
    np.testing.assert_array_equal(cnn.load(tmp_path).predict_proba(pictures), network.predict_proba(pictures))
