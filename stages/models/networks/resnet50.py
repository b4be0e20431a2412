"""ResNet50 (He et al. 2015), as the design-patterns text builds it (section 6), with its head mended.

The text's average pooling of 1x1 does nothing, and its FC layer alone has 100 million weights for 224x224;
global average pooling gives the paper's network and Keras' count.
"""

from typing import Annotated, Any

from pydantic import Field

from stages.common.section import Section
from stages.models.networks import _layers as kl

SHAPE = (224, 224, 3)
CLASSES = 1000


class Options(Section):
    """`reg` is the strength of L2 on every layer's weights: 0.0001 in the paper, none in the text's code."""

    reg: Annotated[float, Field(ge=0)] = 0.0


def layers(x: Any, classes: int, options: Options) -> Any:
    """CONV 7x7 → POOL 3x3 → 3, 4, 6 and 3 bottlenecks → global average → FC softmax.

    25,636,712 weights for 224x224x3 and 1,000 classes.
    """
    reg = options.reg
    x = kl.MaxPooling2D(3, 2)(kl.conv_bn_relu(x, 64, 7, 2, "valid", reg))
    for filters, modules in ((64, 3), (128, 4), (256, 6), (512, 3)):
        x = _bottleneck(x, filters, 1 if filters == 64 else 2, reg, projected=True)
        for _ in range(modules - 1):
            x = _bottleneck(x, filters, 1, reg)
    return kl.softmax(kl.GlobalAveragePooling2D()(x), classes, reg)


def _bottleneck(x: Any, filters: int, stride: int, reg: float, projected: bool = False) -> Any:
    """1x1, 3x3 and 1x1 convolutions, added to the input or its projection; the stride is in the first 1x1."""
    inner = kl.conv_bn_relu(x, filters, 1, stride, "valid", reg)
    inner = kl.conv_bn_relu(inner, filters, 3, reg=reg)
    inner = _conv_bn(inner, 4 * filters, 1, reg)
    return kl.ReLU()(kl.Add()([inner, _conv_bn(x, 4 * filters, stride, reg) if projected else x]))


def _conv_bn(x: Any, filters: int, stride: int, reg: float) -> Any:
    return kl.BatchNormalization()(kl.Conv2D(filters, 1, stride, kernel_regularizer=kl.l2(reg))(x))
