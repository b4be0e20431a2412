"""The layers compute what the Starter Bundle works out by hand (ch. 8, 10 and 11)."""

from typing import Any

import keras
import numpy as np
import pytest

from stages.models.networks import _layers

# Table 11.1, and what the Laplacian makes of it: stride 1, stride 2, and with a border of zeros.
IMAGE = [
    [95, 242, 186, 152, 39],
    [39, 14, 220, 153, 180],
    [5, 247, 212, 54, 46],
    [46, 77, 133, 110, 74],
    [156, 35, 74, 93, 116],
]
LAPLACIAN = [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
STRIDE_1 = [[692, -315, -6], [-680, -194, 305], [153, -59, -86]]
STRIDE_2 = [[692, -6], [153, -86]]
BORDER = [
    [-99, -673, -130, -230, 176],
    [-42, 692, -315, -6, -482],
    [312, -680, -194, 305, 124],
    [54, 153, -59, -86, -24],
    [-543, 167, -35, -72, -297],
]


def convolved(image: Any, kernel: Any, **arguments: Any) -> list[list[float]]:
    """The output of `_layers.conv` with this kernel and no bias; leaky ReLU is taken back."""
    pixels = np.asarray(image, np.float32)[None, :, :, None]
    inputs = keras.Input(pixels.shape[1:])
    style = _layers.Style(activation="leaky_relu")
    network = keras.Model(inputs, _layers.conv(inputs, 1, 3, style=style, **arguments))
    network.set_weights([np.asarray(kernel, np.float32)[:, :, None, None], np.zeros(1)])
    maps = keras.ops.convert_to_numpy(network(pixels))[0, :, :, 0]
    values: list[list[float]] = np.where(maps < 0, maps / 0.2, maps).tolist()
    return values


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"padding": "valid"}, STRIDE_1),
        ({"padding": "valid", "stride": 2}, STRIDE_2),
        ({"padding": "same"}, BORDER),
    ],
    ids=["stride 1", "stride 2", "zero padding"],
)
def test_a_convolution_is_that_of_table_11_1(arguments: dict[str, Any], expected: list[list[int]]) -> None:
    np.testing.assert_allclose(convolved(IMAGE, LAPLACIAN, **arguments), expected, rtol=1e-5)


def test_a_kernel_of_ninths_is_the_mean_of_its_pixels() -> None:
    """Chapter 11, the pixel in the middle of a blur: 132."""
    ((middle,),) = convolved(
        [[93, 139, 101], [26, 252, 196], [135, 230, 18]], np.full((3, 3), 1 / 9), padding="valid"
    )
    assert int(middle) == 132


def test_a_forward_pass_is_that_of_chapter_10() -> None:
    """Inputs 0 and 1, three hidden sigmoids with a bias each, one sigmoid without: 0.506."""
    inputs = keras.Input((2,))
    style = _layers.Style(activation="sigmoid")
    hidden = _layers.dense(inputs, 3, style=style)
    network = keras.Model(inputs, [hidden, _layers.dense(hidden, 1, style=style)])
    network.set_weights(
        [
            np.array([[0.351, -0.097, 0.457], [1.076, -0.165, -0.165]]),
            np.array([1.116, 0.542, -0.331]),
            np.array([[0.383], [-0.327], [-0.329]]),
            np.zeros(1),
        ]
    )
    hidden_values, output = (
        keras.ops.convert_to_numpy(value)[0] for value in network(np.array([[0.0, 1.0]]))
    )
    assert hidden_values == pytest.approx([0.899, 0.593, 0.378], abs=1e-3)
    assert output == pytest.approx([0.506], abs=1e-3)


def test_softmax_and_its_loss_are_those_of_figure_8_6() -> None:
    """Scores of dog, cat and panda; the image shows a panda."""
    inputs = keras.Input((3,))
    network = keras.Model(inputs, _layers.softmax(inputs, 3))
    network.set_weights([np.eye(3), np.zeros(3)])
    network.compile(loss="sparse_categorical_crossentropy")
    scores = np.array([[-3.44, 1.16, 3.91]])
    assert network.predict(scores, verbose=0)[0] == pytest.approx([0.0006, 0.0601, 0.9393], abs=5e-5)
    assert network.evaluate(scores, np.array([2]), verbose=0) == pytest.approx(0.0626, abs=5e-5)
