"""ShallowNet: one convolution and a classifier (Starter Bundle ch. 12)."""

from typing import Any

from keras import layers as kl


def layers(x: Any, classes: int) -> Any:
    """CONV 32 3x3 same → ReLU → FC softmax. 99,203 weights for 32x32x3 and 3 classes."""
    x = kl.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = kl.Flatten()(x)
    return kl.Dense(classes, activation="softmax", dtype="float32")(x)
