"""The building blocks of the networks: Keras' layers by their names, and the combinations that several share.

`_layers.Conv2D` is `keras.layers.Conv2D`, imported at its first use. So a network's file can be imported for
its options, which the params check in the first second, without the ten seconds that Keras takes to start.
"""

from collections.abc import Sequence
from typing import Any, Literal

from stages.common.section import Section

# none; before or after the activation.
Normalization = Literal["none", "before", "after"]
Activation = Literal["sigmoid", "tanh", "relu", "leaky_relu", "prelu", "elu", "selu", "silu", "gelu"]
Initializer = Literal[
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_uniform",
    "lecun_normal",
    "uniform",
    "normal",
]
# Keras' names where they differ; U(-0.05, 0.05) and N(0, 0.05), as in the book.
_KERAS_INITIALIZERS = {"uniform": "random_uniform", "normal": "random_normal"}


class Style(Section):
    """What the books vary in a network without changing its shapes.

    Attributes:
        activation: behind every layer with weights but the last. Starter Bundle ch. 10: begin with `relu`,
            tune everything else, then try `elu`, which typically gains 1 to 5 percent. The slope of
            `leaky_relu` below 0 is Keras' 0.2; that of `prelu` is learnt per channel.
        initializer: of the kernels (Starter Bundle ch. 10). `glorot_uniform`, Keras' default, suits most
            networks; `he_*` very deep ones with relu; `uniform` and `normal`, whose width knows nothing of
            the layer, are the ones to compare with.
    """

    activation: Activation = "relu"
    initializer: Initializer = "glorot_uniform"


def __getattr__(name: str) -> Any:
    # skops asks every loaded module for the names of SciPy's functions: such a question must not load Keras.
    if not name[0].isupper():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import keras

    return getattr(keras.layers, name)


def l2(strength: float) -> Any:
    """A penalty on a layer's weights: `strength` times the sum of their squares; None for 0."""
    import keras

    return keras.regularizers.L2(strength) if strength else None


def conv(
    x: Any,
    filters: int,
    kernel: int,
    stride: int = 1,
    *,
    style: Style,
    padding: str = "same",
    reg: float = 0.0,
    normalization: Normalization = "none",
) -> Any:
    """CONV → activation, with batch normalization before or after the activation, or without.

    Args:
        x: feature maps (N, H, W, C).
        filters: number of kernels.
        kernel: side of a kernel in pixels.
        stride: in pixels.
        style: activation and initializer.
        padding: `same` or `valid`.
        reg: strength of L2 on the kernels.
        normalization: where batch normalization is.

    Returns:
        Feature maps (N, H', W', filters).
    """
    from keras import layers as kl

    layer = kl.Conv2D(
        filters,
        kernel,
        stride,
        padding=padding,
        kernel_regularizer=l2(reg),
        **_arguments(style, normalization),
    )
    return _finished(layer(x), style, normalization)


def dense(
    x: Any,
    units: int,
    *,
    style: Style,
    reg: float = 0.0,
    normalization: Normalization = "none",
) -> Any:
    """FC → activation: vectors (N, D) → (N, units). The arguments are those of `conv`."""
    from keras import layers as kl

    layer = kl.Dense(units, kernel_regularizer=l2(reg), **_arguments(style, normalization))
    return _finished(layer(x), style, normalization)


def softmax(
    x: Any,
    classes: int,
    reg: float = 0.0,
    name: str | None = None,
    initializer: Initializer = "glorot_uniform",
) -> Any:
    """The last layer of every classifier; float32 whatever precision the layers before it compute in."""
    from keras import layers as kl

    return kl.Dense(
        classes,
        activation="softmax",
        kernel_initializer=keras_initializer(initializer),
        kernel_regularizer=l2(reg),
        dtype="float32",
        name=name,
    )(x)


def activated(x: Any, style: Style) -> Any:
    """The activation as a layer of its own."""
    from keras import layers as kl

    if style.activation == "prelu":
        # One slope per channel, as He et al. 2015: it does not depend on the size of the maps.
        return kl.PReLU(shared_axes=[1, 2] if len(x.shape) == 4 else None)(x)
    return kl.ReLU()(x) if style.activation == "relu" else kl.Activation(style.activation)(x)


def keras_initializer(name: Initializer) -> str:
    """Keras' name of an initializer."""
    return _KERAS_INITIALIZERS.get(name, name)


def flattened(x: Any) -> Any:
    """Flatten feature maps (N, H, W, C) to vectors (N, H*W*C).

    Raises:
        ValueError: the maps have no pixel left.
    """
    from keras import layers as kl

    if 0 in x.shape[1:]:
        raise ValueError("no pixel is left behind the poolings")
    return kl.Flatten()(x)


# The filters of GoogLeNet's modules 3a to 4e, as `inception` takes them (Szegedy et al. 2014, table 1).
INCEPTION_MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
}


def inception(x: Any, filters: Sequence[int], convolve: Any, name: str) -> Any:
    """The four branches of Szegedy et al. 2014 on one input, concatenated.

    Args:
        x: feature maps (N, H, W, C).
        filters: their numbers of 1x1 | 1x1 → 3x3 | 1x1 → 5x5 | 3x3 max pooling, stride 1 → 1x1.
        convolve: `convolve(x, filters, kernel)` makes each convolution.
        name: of the concatenation.

    Returns:
        Feature maps (N, H, W, C').
    """
    from keras import layers as kl

    single, reduce3, triple, reduce5, quintuple, projection = filters
    pooled = kl.MaxPooling2D(3, 1, padding="same")(x)
    branches = [
        convolve(x, single, 1),
        convolve(convolve(x, reduce3, 1), triple, 3),
        convolve(convolve(x, reduce5, 1), quintuple, 5),
        convolve(pooled, projection, 1),
    ]
    return kl.Concatenate(name=name)(branches)


def _arguments(style: Style, normalization: Normalization) -> dict[str, Any]:
    """An activation inside the layer where it can be: PReLU has weights, and normalization may come first."""
    inside = style.activation != "prelu" and normalization != "before"
    return {
        "activation": style.activation if inside else None,
        "kernel_initializer": keras_initializer(style.initializer),
    }


def _finished(x: Any, style: Style, normalization: Normalization) -> Any:
    from keras import layers as kl

    if normalization == "before":
        return activated(kl.BatchNormalization()(x), style)
    x = activated(x, style) if style.activation == "prelu" else x
    return kl.BatchNormalization()(x) if normalization == "after" else x
