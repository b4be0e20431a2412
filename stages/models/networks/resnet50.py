"""ResNet50 (He et al. 2015), as the design-patterns text builds it (section 6), with another head.

The text's average pooling of 1x1 does nothing, and its FC layer alone has 100 million weights for 224x224;
global average pooling gives the paper's network and Keras' count.
"""

from functools import partial
from typing import Annotated, Any

from pydantic import Field

from stages.models.networks import _layers as kl

SHAPE = (224, 224, 3)
CLASSES = 1000


class Options(kl.Style):
    """What can be varied.

    Attributes:
        reg: strength of L2 on every layer's weights: 0.0001 in the paper, none in the text's code.
    """

    reg: Annotated[float, Field(ge=0)] = 0.0


def layers(x: Any, classes: int, options: Options) -> Any:
    """CONV 7x7 → POOL 3x3 → 3, 4, 6 and 3 bottlenecks → global average → FC softmax.

    25,636,712 weights for 224x224x3 and 1,000 classes.
    """
    convolve = partial(kl.conv, style=options, reg=options.reg, normalization="before")
    x = kl.MaxPooling2D(3, 2)(convolve(x, 64, 7, 2, padding="valid"))
    for filters, modules in ((64, 3), (128, 4), (256, 6), (512, 3)):
        x = _bottleneck(x, filters, 1 if filters == 64 else 2, options, projected=True)
        for _ in range(modules - 1):
            x = _bottleneck(x, filters, 1, options)
    return kl.softmax(kl.GlobalAveragePooling2D()(x), classes, options.reg, initializer=options.initializer)


def _bottleneck(x: Any, filters: int, stride: int, options: Options, projected: bool = False) -> Any:
    """1x1, 3x3 and 1x1 convolutions, added to the input or its projection; the stride is in the first 1x1."""
    convolve = partial(kl.conv, style=options, reg=options.reg, normalization="before")
    inner = convolve(x, filters, 1, stride, padding="valid")
    inner = convolve(inner, filters, 3)
    inner = _conv_bn(inner, 4 * filters, 1, options)
    shortcut = _conv_bn(x, 4 * filters, stride, options) if projected else x
    return kl.activated(kl.Add()([inner, shortcut]), options)


def _conv_bn(x: Any, filters: int, stride: int, options: Options) -> Any:
    layer = kl.Conv2D(
        filters,
        1,
        stride,
        kernel_initializer=kl.keras_initializer(options.initializer),
        kernel_regularizer=kl.l2(options.reg),
    )
    return kl.BatchNormalization()(layer(x))
