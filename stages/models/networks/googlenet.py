"""GoogLeNet: nine inception modules (Szegedy et al. 2014, table 1; design-patterns text, section 5).

The text has no layer table, so this is the paper's, without its two auxiliary classifiers, which helped
gradients before batch normalization did, and without its local response normalization.
"""

from functools import partial
from typing import Any

from stages.models.networks import _layers as kl

SHAPE = (224, 224, 3)
CLASSES = 1000

_MODULES = {
    **kl.INCEPTION_MODULES,
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class Options(kl.Style):
    """What can be varied.

    Attributes:
        batch_normalization: before each activation, as its successor of 2015 has it; it trains faster.
    """

    batch_normalization: bool = False


def layers(x: Any, classes: int, options: Options) -> Any:
    """CONV 7x7 → CONV 1x1 → CONV 3x3, nine inception modules, global average, dropout, FC softmax.

    6,998,552 weights for 224x224x3 and 1,000 classes.
    """
    normalization: kl.Normalization = "before" if options.batch_normalization else "none"
    convolve = partial(kl.conv, style=options, normalization=normalization)
    pool = partial(kl.MaxPooling2D, 3, 2, padding="same")
    x = pool()(convolve(x, 64, 7, 2))
    x = pool()(convolve(convolve(x, 64, 1), 192, 3))
    for name, filters in _MODULES.items():
        x = kl.inception(x, filters, convolve, f"{name}_mixed")
        x = pool()(x) if name in {"3b", "4e"} else x
    x = kl.Dropout(0.4)(kl.GlobalAveragePooling2D()(x))
    return kl.softmax(x, classes, initializer=options.initializer)
