"""AlexNet as the Practitioner Bundle builds it (ch. 10): zero padding, batch normalization, dropout, L2.

Its table 10.1 has some sizes wrong; 227 pixels with stride 4 and zero padding are 57. `alexnet2012` is closer
to the paper.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from stages.models.networks import _layers as kl

SHAPE = (227, 227, 3)
CLASSES = 1000


class Options(kl.Style):
    """What can be varied.

    Attributes:
        reg: strength of L2 on every layer's weights.
        normalization: batch normalization before or after the activation; the book: after.
    """

    reg: Annotated[float, Field(ge=0)] = 0.0002
    normalization: Literal["before", "after"] = "after"


def layers(x: Any, classes: int, options: Options) -> Any:
    """Five CONV → ReLU → BN, three of them followed by POOL 3x3 and dropout; two FC 4096; FC softmax.

    62,416,616 weights for 227x227x3 and 1,000 classes; 58,327,810 for 2.
    """
    reg, normalization = options.reg, options.normalization
    for filters, kernel, stride, pooled in (
        (96, 11, 4, True),
        (256, 5, 1, True),
        (384, 3, 1, False),
        (384, 3, 1, False),
        (256, 3, 1, True),
    ):
        x = kl.conv(x, filters, kernel, stride, style=options, reg=reg, normalization=normalization)
        if pooled:
            x = kl.Dropout(0.25)(kl.MaxPooling2D(3, 2)(x))
    x = kl.flattened(x)
    for _ in range(2):
        x = kl.Dropout(0.5)(kl.dense(x, 4096, style=options, reg=reg, normalization=normalization))
    return kl.softmax(x, classes, reg, initializer=options.initializer)
