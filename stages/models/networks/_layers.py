"""What the networks are built of: Keras' layers by their names, and the few combinations that several share.

`_layers.Conv2D` is `keras.layers.Conv2D`, imported at its first use. So a network's file can be read for its
options, which the params check in the first second, without the ten seconds that Keras takes to start.
"""

from collections.abc import Sequence
from typing import Any


def __getattr__(name: str) -> Any:
    import keras

    return getattr(keras.layers, name)


def l2(strength: float) -> Any:
    """A penalty on a layer's weights: `strength` times the sum of their squares; none for 0."""
    import keras

    return keras.regularizers.L2(strength) if strength else None


def softmax(x: Any, classes: int, reg: float = 0.0, name: str | None = None) -> Any:
    """The last layer of every classifier; float32 whatever precision the layers before it compute in."""
    from keras import layers as kl

    return kl.Dense(classes, activation="softmax", kernel_regularizer=l2(reg), dtype="float32", name=name)(x)


def flattened(x: Any) -> Any:
    """The feature maps (H, W, C) as one vector. Raises ValueError when they have no pixel left."""
    from keras import layers as kl

    if 0 in x.shape[1:]:
        raise ValueError("no pixel is left behind the poolings")
    return kl.Flatten()(x)


def conv_bn_relu(
    x: Any, filters: int, kernel: int, stride: int = 1, padding: str = "same", reg: float = 0.0
) -> Any:
    """CONV → BN → ReLU, the order of the Inception papers, which the book keeps for its GoogLeNets."""
    from keras import layers as kl

    x = kl.Conv2D(filters, kernel, stride, padding=padding, kernel_regularizer=l2(reg))(x)
    return kl.ReLU()(kl.BatchNormalization()(x))


def conv_relu(x: Any, filters: int, kernel: int, stride: int = 1, reg: float = 0.0) -> Any:
    """CONV → ReLU with zero padding."""
    from keras import layers as kl

    return kl.Conv2D(filters, kernel, stride, padding="same", activation="relu", kernel_regularizer=l2(reg))(
        x
    )


def inception(x: Any, filters: Sequence[int], conv: Any, name: str) -> Any:
    """The four branches of Szegedy et al. 2014 on one input, concatenated under `name`.

    `filters` counts those of 1x1 | 1x1 → 3x3 | 1x1 → 5x5 | 3x3 max pooling, stride 1 → 1x1, in that order;
    `conv(x, filters, kernel)` makes each convolution.
    """
    from keras import layers as kl

    one, reduce3, three, reduce5, five, projection = filters
    pooled = kl.MaxPooling2D(3, 1, padding="same")(x)
    branches = [
        conv(x, one, 1),
        conv(conv(x, reduce3, 1), three, 3),
        conv(conv(x, reduce5, 1), five, 5),
        conv(pooled, projection, 1),
    ]
    return kl.Concatenate(name=name)(branches)


def vgg(x: Any, classes: int, convolutions: Sequence[int], reg: float) -> Any:
    """Per block so many CONV 3x3, then POOL 2x2; two FC 4096 with dropout; FC softmax.

    The blocks have 64, 128, 256, 512 and 512 filters. Simonyan and Zisserman 2014; design-patterns text,
    section 4.
    """
    from keras import layers as kl

    for filters, count in zip((64, 128, 256, 512, 512), convolutions, strict=True):
        for _ in range(count):
            x = conv_relu(x, filters, 3, reg=reg)
        x = kl.MaxPooling2D(2, 2)(x)
    x = flattened(x)
    for _ in range(2):
        x = kl.Dense(4096, activation="relu", kernel_regularizer=l2(reg))(x)
        x = kl.Dropout(0.5)(x)
    return softmax(x, classes, reg)
