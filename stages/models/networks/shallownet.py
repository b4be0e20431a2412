"""ShallowNet: one convolution and a classifier (Starter Bundle ch. 12)."""

from typing import Any

from stages.models.networks import _layers as kl

SHAPE = (32, 32, 3)
CLASSES = 10


class Options(kl.Style):
    """Activation and initializer."""


def layers(x: Any, classes: int, options: Options) -> Any:
    """CONV 32 3x3 same → ReLU → FC softmax. 99,203 weights for 32x32x3 and 3 classes, 328,586 for 10."""
    x = kl.conv(x, 32, 3, style=options)
    return kl.softmax(kl.flattened(x), classes, initializer=options.initializer)
