"""What the books vary in a network without changing its shapes: activation, normalization, initializer."""

from typing import Any, get_args

import keras
import numpy as np
import pytest

from stages.models import networks
from stages.models.networks import _layers

STYLED = [name for name in networks.names() if issubclass(networks.options(name), _layers.Style)]
# The variance of a kernel's values times this many inputs or outputs: LeNet's dense layer on 28x28x1.
INPUTS, OUTPUTS = 7 * 7 * 50, 500
VARIANCES = {
    "uniform": 0.1**2 / 12,
    "normal": 0.05**2,
    "lecun_uniform": 1 / INPUTS,
    "lecun_normal": 1 / INPUTS,
    "glorot_uniform": 2 / (INPUTS + OUTPUTS),
    "glorot_normal": 2 / (INPUTS + OUTPUTS),
    "he_uniform": 2 / INPUTS,
    "he_normal": 2 / INPUTS,
}


def build(name: str, shape: tuple[int, ...], **options: Any) -> keras.Model:
    return networks.build(name, shape, 3, None, networks.options(name).model_validate(options))


def unfilled(name: str, **options: Any) -> keras.Model:
    """In its authors' size, without values for its weights."""
    from stages.common import plugins

    with keras.StatelessScope(initialize_variables=False):
        return build(name, plugins.module("stages.models.networks", name).SHAPE, **options)


def activations(network: keras.Model) -> set[str]:
    """The activations of a network, inside of layers or as layers, without those that do nothing."""
    names = set()
    for layer in network.layers:
        kind = type(layer).__name__
        if kind in ("ReLU", "PReLU"):
            names.add(kind.lower())
        elif hasattr(layer, "activation"):
            names.add(layer.activation.__name__)
    return names - {"linear"}


def order(network: keras.Model) -> list[str]:
    """Where activation and normalization of the first block are."""
    kinds = []
    for layer in network.layers:
        kind = type(layer).__name__
        if kind == "Conv2D":
            kinds.append("CONV-ELU" if layer.activation.__name__ == "elu" else "CONV")
        elif kind in ("BatchNormalization", "Activation"):
            kinds.append({"BatchNormalization": "BN", "Activation": "ELU"}[kind])
    return kinds


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "prelu", "elu"])
@pytest.mark.parametrize("name", STYLED)
def test_a_network_has_the_chosen_activation_and_no_other(name: str, activation: str) -> None:
    assert activations(unfilled(name, activation=activation)) == {activation, "softmax"}


def test_most_networks_have_a_style() -> None:
    assert set(networks.names()) - set(STYLED) == {"keras_applications"}


def test_prelu_learns_a_slope_for_each_channel() -> None:
    plain, learnt = (unfilled("minivggnet", activation=name) for name in ("relu", "prelu"))
    # Of four convolutions and of the dense layer.
    assert learnt.count_params() - plain.count_params() == 32 + 32 + 64 + 64 + 512


@pytest.mark.parametrize("name", ["minivggnet", "alexnet", "minigooglenet", "deepergooglenet"])
def test_batch_normalization_is_where_the_options_say(name: str) -> None:
    before = order(unfilled(name, activation="elu", normalization="before"))
    after = order(unfilled(name, activation="elu", normalization="after"))
    assert before[:3] == ["CONV", "BN", "ELU"]
    assert after[:2] == ["CONV-ELU", "BN"]
    assert before.count("BN") == after.count("BN")


def test_lenet5_pools_by_average_or_maximum() -> None:
    for pooling, kind in (("average", "AveragePooling2D"), ("max", "MaxPooling2D")):
        layers = unfilled("lenet5", pooling=pooling).layers
        assert [type(layer).__name__ for layer in layers if "Pooling" in type(layer).__name__] == [kind] * 2


def test_configuration_c_of_vgg16_has_three_convolutions_of_one_pixel() -> None:
    layers = [layer for layer in unfilled("vgg16", configuration="C").layers if hasattr(layer, "kernel_size")]
    assert [layer.kernel_size[0] for layer in layers] == [3, 3, 3, 3, *[3, 3, 1] * 3]


@pytest.mark.parametrize("initializer", get_args(_layers.Initializer))
def test_initializers_have_the_variance_of_their_formula(initializer: str) -> None:
    """Starter Bundle ch. 10: how wide the weights are drawn depends on the layer's inputs and outputs."""
    keras.utils.set_random_seed(1)
    network = build("lenet", (28, 28, 1), initializer=initializer)
    kernel = next(np.asarray(layer.kernel) for layer in network.layers if layer.name.startswith("dense"))
    assert kernel.shape == (INPUTS, OUTPUTS)
    assert kernel.var() == pytest.approx(VARIANCES[initializer], rel=0.02)


def test_the_defaults_draw_the_weights_that_plain_keras_layers_draw() -> None:
    keras.utils.set_random_seed(1)
    ours = build("lenet", (8, 8, 1)).get_weights()
    keras.utils.set_random_seed(1)
    plain = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(20, 5, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(2, 2),
            keras.layers.Conv2D(50, 5, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(2, 2),
            keras.layers.Flatten(),
            keras.layers.Dense(500, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    ).get_weights()
    for weights, expected in zip(ours, plain, strict=True):
        np.testing.assert_array_equal(weights, expected)
