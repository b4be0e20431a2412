"""What the VGG networks share (Simonyan and Zisserman 2014; design-patterns text, section 4)."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from stages.models.networks import _layers as kl

SHAPE = (224, 224, 3)
CLASSES = 1000
_FILTERS = (64, 128, 256, 512, 512)


class Options(kl.Style):
    """What can be varied.

    Attributes:
        reg: strength of L2 on every layer's weights: 0.0005 in the paper, none in the text's code.
    """

    reg: Annotated[float, Field(ge=0)] = 0.0


def layers(x: Any, classes: int, kernels: Sequence[Sequence[int]], options: Options) -> Any:
    """Five blocks of convolutions and POOL 2x2, of 64 to 512 filters; two FC 4096 with dropout; FC softmax.

    Args:
        x: images (N, H, W, C).
        classes: their number.
        kernels: per block the sides of its kernels in pixels.
        options: activation, initializer and regularization.
    """
    for filters, sides in zip(_FILTERS, kernels, strict=True):
        for side in sides:
            x = kl.conv(x, filters, side, style=options, reg=options.reg)
        x = kl.MaxPooling2D(2, 2)(x)
    x = kl.flattened(x)
    for _ in range(2):
        x = kl.Dropout(0.5)(kl.dense(x, 4096, style=options, reg=options.reg))
    return kl.softmax(x, classes, options.reg, initializer=options.initializer)
