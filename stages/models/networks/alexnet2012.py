"""AlexNet after Krizhevsky et al. 2012, as the design-patterns text builds it (section 3).

Batch normalization takes the place of the paper's local response normalization. The input is 227x227: the
paper says 224, which contradicts its own sizes.
"""

from typing import Annotated, Any

from pydantic import Field

from stages.models.networks import _layers as kl

SHAPE = (227, 227, 3)
CLASSES = 1000


class Options(kl.Style):
    """What can be varied.

    Attributes:
        reg: strength of L2 on the weights of the second to fifth convolution, as in the text.
    """

    reg: Annotated[float, Field(ge=0)] = 0.0005


def layers(x: Any, classes: int, options: Options) -> Any:
    """CONV → POOL → BN twice, CONV → BN thrice, POOL 3x3, two FC 4096 with dropout, FC softmax.

    62,383,848 weights for 227x227x3 and 1,000 classes, 2,752 of them not trained.
    """
    x = kl.conv(x, 96, 11, 4, style=options, padding="valid")
    x = kl.BatchNormalization()(kl.MaxPooling2D(3, 2)(x))
    x = kl.conv(x, 256, 5, style=options, reg=options.reg)
    x = kl.BatchNormalization()(kl.MaxPooling2D(3, 2)(x))
    for filters in (384, 384, 256):
        x = kl.conv(x, filters, 3, style=options, reg=options.reg, normalization="after")
    x = kl.flattened(kl.MaxPooling2D(3, 2)(x))
    for _ in range(2):
        x = kl.Dropout(0.5)(kl.dense(x, 4096, style=options))
    return kl.softmax(x, classes, initializer=options.initializer)
