"""LeNet-5 of LeCun et al. 1998: 6, 16 and 120 filters, average pooling (design-patterns text, section 2).

The text counts three convolutions and two FC layers in one place and three FC layers in another: C5's maps
are 1x1 for 28x28, so both are the same network.
"""

from typing import Any, Literal

from stages.models.networks import _layers as kl

SHAPE = (28, 28, 1)
CLASSES = 10


class Options(kl.Style):
    """What can be varied.

    Attributes:
        activation: behind every layer; the text proposes relu as an experiment.
        pooling: the paper's average, or the maximum that later networks take.
    """

    activation: kl.Activation = "tanh"
    pooling: Literal["average", "max"] = "average"


def layers(x: Any, classes: int, options: Options) -> Any:
    """CONV 6 5x5 same → POOL → CONV 16 5x5 → POOL → CONV 120 5x5 → FC 84 → FC softmax.

    61,706 weights for 28x28x1 and 10 classes.

    Raises:
        ValueError: the images are smaller than 28x28.
    """
    pool = kl.AveragePooling2D if options.pooling == "average" else kl.MaxPooling2D
    for filters, padding in ((6, "same"), (16, "valid")):
        x = kl.conv(x, filters, 5, style=options, padding=padding)
        x = pool(2, 2)(x)
    x = kl.conv(x, 120, 5, style=options, padding="valid")
    x = kl.dense(kl.flattened(x), 84, style=options)
    return kl.softmax(x, classes, initializer=options.initializer)
