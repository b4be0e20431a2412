"""MiniVGGNet: two blocks of paired 3x3 convolutions (Starter Bundle ch. 15, table 15.1).

Batch normalization stands after the activation, as in the book.
"""

from typing import Any

from stages.common.section import Section
from stages.models.networks import _layers as kl

SHAPE = (32, 32, 3)
CLASSES = 10


class Options(Section):
    """The book trains it with and without batch normalization: 0.82 and 0.80 on CIFAR-10."""

    batch_normalization: bool = True


def layers(x: Any, classes: int, options: Options) -> Any:
    """((CONV 3x3 same → ReLU → BN) twice → POOL 2x2 → dropout) twice → FC 512 → BN → dropout → FC softmax.

    2,171,178 weights for 32x32x3 and 10 classes; 2,168,362 without batch normalization.
    """
    for filters in (32, 64):
        for _ in range(2):
            x = kl.Conv2D(filters, 3, padding="same", activation="relu")(x)
            x = kl.BatchNormalization()(x) if options.batch_normalization else x
        x = kl.MaxPooling2D(2, 2)(x)
        x = kl.Dropout(0.25)(x)
    x = kl.Dense(512, activation="relu")(kl.flattened(x))
    x = kl.BatchNormalization()(x) if options.batch_normalization else x
    x = kl.Dropout(0.5)(x)
    return kl.softmax(x, classes)
