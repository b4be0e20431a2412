"""MiniVGGNet: two blocks of paired 3x3 convolutions (Starter Bundle ch. 15, table 15.1).

Batch normalization stands after the activation, as in the book.
"""

from typing import Any

from keras import layers as kl


def layers(x: Any, classes: int) -> Any:
    """((CONV 3x3 same → ReLU → BN) twice → POOL 2x2 → dropout) twice → FC 512 → BN → dropout → FC softmax.

    2,171,178 weights for 32x32x3 and 10 classes.
    """
    for filters in (32, 64):
        for _ in range(2):
            x = kl.Conv2D(filters, 3, padding="same", activation="relu")(x)
            x = kl.BatchNormalization()(x)
        x = kl.MaxPooling2D(2, 2)(x)
        x = kl.Dropout(0.25)(x)
    x = kl.Flatten()(x)
    x = kl.Dense(512, activation="relu")(x)
    x = kl.BatchNormalization()(x)
    x = kl.Dropout(0.5)(x)
    return kl.Dense(classes, activation="softmax", dtype="float32")(x)
