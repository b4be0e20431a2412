"""MiniGoogLeNet, for images of 32x32 (Practitioner Bundle ch. 11, after Zhang et al. 2017).

Batch normalization comes before the activation, as in the paper. The book says that its first downsampling
keeps 80 filters; concatenated with the pooling they are 160.
"""

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.models.networks import _layers as kl

SHAPE = (32, 32, 3)
CLASSES = 10

# Filters of 1x1 and 3x3; a single number is a downsampling.
_MODULES = (
    (32, 32),
    (32, 48),
    80,
    (112, 48),
    (96, 64),
    (80, 80),
    (48, 96),
    96,
    (176, 160),
    (176, 160),
)


class Options(kl.Style):
    """What can be varied.

    Attributes:
        reg: strength of L2 on every layer's weights: the book's proposal for a next experiment.
        normalization: batch normalization before or after the activation; the book advises `after` for
            networks of one's own.
    """

    reg: Annotated[float, Field(ge=0)] = 0.0
    normalization: Literal["before", "after"] = "before"


def layers(x: Any, classes: int, options: Options) -> Any:
    """CONV 96 3x3 → eight modules of 1x1 beside 3x3, two of stride 2 → global average → dropout → FC softmax.

    1,656,250 weights for 32x32x3 and 10 classes, 1,652,826 of them trained. The book's average pooling of
    7x7 is global for 32x32; so it is here for every size.
    """
    convolve = partial(kl.conv, style=options, reg=options.reg, normalization=options.normalization)
    x = convolve(x, 96, 3)
    for filters in _MODULES:
        if isinstance(filters, int):
            halved = convolve(x, filters, 3, 2, padding="valid")
            x = kl.Concatenate()([halved, kl.MaxPooling2D(3, 2)(x)])
        else:
            branches = zip(filters, (1, 3), strict=True)
            x = kl.Concatenate()([convolve(x, *branch) for branch in branches])
    x = kl.Dropout(0.5)(kl.GlobalAveragePooling2D()(x))
    return kl.softmax(x, classes, options.reg, initializer=options.initializer)
