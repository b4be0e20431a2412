"""ShallowNet: one convolution and a classifier (Starter Bundle ch. 12)."""

from typing import Any

from stages.common.section import Section
from stages.models.networks import _layers as kl

SHAPE = (32, 32, 3)
CLASSES = 10


def layers(x: Any, classes: int, _: Section) -> Any:
    """CONV 32 3x3 same → ReLU → FC softmax. 99,203 weights for 32x32x3 and 3 classes, 328,586 for 10."""
    x = kl.Conv2D(32, 3, padding="same", activation="relu")(x)
    return kl.softmax(kl.flattened(x), classes)
