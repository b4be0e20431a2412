"""AlexNet after Krizhevsky et al. 2012, as the design-patterns text builds it (section 3).

Batch normalization takes the place of the paper's local response normalization. The input is 227x227: the
paper says 224, with which its own sizes do not come out.
"""

from typing import Annotated, Any

from pydantic import Field

from stages.common.section import Section
from stages.models.networks import _layers as kl

SHAPE = (227, 227, 3)
CLASSES = 1000


class Options(Section):
    """`reg` is the strength of L2 on the weights of the second to fifth convolution, as in the text."""

    reg: Annotated[float, Field(ge=0)] = 0.0005


def layers(x: Any, classes: int, options: Options) -> Any:
    """CONV → POOL → BN twice, CONV → BN thrice, POOL 3x3, two FC 4096 with dropout, FC softmax.

    62,383,848 weights for 227x227x3 and 1,000 classes, 2,752 of them not trained.
    """
    x = kl.Conv2D(96, 11, 4, activation="relu")(x)
    x = kl.BatchNormalization()(kl.MaxPooling2D(3, 2)(x))
    x = kl.conv_relu(x, 256, 5, reg=options.reg)
    x = kl.BatchNormalization()(kl.MaxPooling2D(3, 2)(x))
    for filters in (384, 384, 256):
        x = kl.BatchNormalization()(kl.conv_relu(x, filters, 3, reg=options.reg))
    x = kl.flattened(kl.MaxPooling2D(3, 2)(x))
    for _ in range(2):
        x = kl.Dropout(0.5)(kl.Dense(4096, activation="relu")(x))
    return kl.softmax(x, classes)
