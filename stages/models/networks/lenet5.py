"""LeNet-5 of LeCun et al. 1998: 6, 16 and 120 filters, average pooling (design-patterns text, section 2).

The text counts three convolutions and two FC layers in one place and three FC layers in another: C5's maps
are 1x1 for 28x28, so both are the same network.
"""

from typing import Any, Literal

from stages.common.section import Section
from stages.models.networks import _layers as kl

SHAPE = (28, 28, 1)
CLASSES = 10


class Options(Section):
    """The activation behind every layer; the text proposes relu as an experiment."""

    activation: Literal["tanh", "relu"] = "tanh"


def layers(x: Any, classes: int, options: Options) -> Any:
    """CONV 6 5x5 same → POOL → CONV 16 5x5 → POOL → CONV 120 5x5 → FC 84 → FC softmax.

    61,706 weights for 28x28x1 and 10 classes. Raises ValueError below 28x28.
    """
    for filters, padding in ((6, "same"), (16, "valid")):
        x = kl.Conv2D(filters, 5, padding=padding, activation=options.activation)(x)
        x = kl.AveragePooling2D(2, 2)(x)
    x = kl.Conv2D(120, 5, activation=options.activation)(x)
    x = kl.Dense(84, activation=options.activation)(kl.flattened(x))
    return kl.softmax(x, classes)
