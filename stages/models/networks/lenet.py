"""LeNet as the Starter Bundle builds it (ch. 14, table 14.1): 20 and 50 filters, ReLU, max pooling.

`lenet5` is the network of LeCun et al. 1998, with 6 and 16 filters, tanh and average pooling.
"""

from typing import Any

from stages.models.networks import _layers as kl

SHAPE = (28, 28, 1)
CLASSES = 10


class Options(kl.Style):
    """Activation and initializer."""


def layers(x: Any, classes: int, options: Options) -> Any:
    """(CONV 5x5 same → ReLU → POOL 2x2) twice → FC 500 → FC softmax.

    1,256,080 weights for 28x28x1 and 10 classes.
    """
    for filters in (20, 50):
        x = kl.conv(x, filters, 5, style=options)
        x = kl.MaxPooling2D(2, 2)(x)
    x = kl.dense(kl.flattened(x), 500, style=options)
    return kl.softmax(x, classes, initializer=options.initializer)
