"""MiniVGGNet: two blocks of paired 3x3 convolutions (Starter Bundle ch. 15, table 15.1)."""

from typing import Any, Literal

from stages.models.networks import _layers as kl

SHAPE = (32, 32, 3)
CLASSES = 10


class Options(kl.Style):
    """What can be varied.

    Attributes:
        batch_normalization: the book trains with and without: 0.82 and 0.80 on CIFAR-10.
        normalization: before or after the activation. The book: after, and at most one experiment with
            before (ch. 11).
    """

    batch_normalization: bool = True
    normalization: Literal["before", "after"] = "after"


def layers(x: Any, classes: int, options: Options) -> Any:
    """((CONV 3x3 same → ReLU → BN) twice → POOL 2x2 → dropout) twice → FC 512 → BN → dropout → FC softmax.

    2,171,178 weights for 32x32x3 and 10 classes; 2,168,362 without batch normalization.
    """
    normalization: kl.Normalization = options.normalization if options.batch_normalization else "none"
    for filters in (32, 64):
        for _ in range(2):
            x = kl.conv(x, filters, 3, style=options, normalization=normalization)
        x = kl.MaxPooling2D(2, 2)(x)
        x = kl.Dropout(0.25)(x)
    x = kl.dense(kl.flattened(x), 512, style=options, normalization=normalization)
    x = kl.Dropout(0.5)(x)
    return kl.softmax(x, classes, initializer=options.initializer)
