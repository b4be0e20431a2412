"""DeeperGoogLeNet, for images of 64x64 (Practitioner Bundle ch. 11).

GoogLeNet with a first convolution of 5x5 and stride 1, seven inception modules, and batch normalization
before each activation.
"""

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.models.networks import _layers as kl

SHAPE = (64, 64, 3)
CLASSES = 200


class Options(kl.Style):
    """What can be varied. The book proposes `normalization: after` and `activation: elu` as next experiments.

    Attributes:
        reg: strength of L2 on every layer's weights; the book's experiments take 0.0002.
        stage4: whether there are the modules 4a to 4e; the first two experiments leave them out.
        normalization: batch normalization before or after the activation.
    """

    reg: Annotated[float, Field(ge=0)] = 0.0005
    stage4: bool = True
    normalization: Literal["before", "after"] = "before"


def layers(x: Any, classes: int, options: Options) -> Any:
    """CONV 5x5 → CONV 1x1 → CONV 3x3, inception 3a-3b and 4a-4e, global average → dropout → FC softmax.

    3,667,976 weights for 64x64x3 and 200 classes, 3,657,992 of them trained; 773,752 without 4a-4e. The
    book's average pooling of 4x4 is global for 64x64; so it is here for every size.
    """
    convolve = partial(kl.conv, style=options, reg=options.reg, normalization=options.normalization)
    pool = partial(kl.MaxPooling2D, 3, 2, padding="same")
    x = pool(name="pool1")(convolve(x, 64, 5))
    x = pool(name="pool2")(convolve(convolve(x, 64, 1), 192, 3))
    for name, filters in kl.INCEPTION_MODULES.items():
        if name.startswith("3") or options.stage4:
            x = kl.inception(x, filters, convolve, f"{name}_mixed")
        x = pool(name="pool3")(x) if name == "3b" else x
    x = pool(name="pool4")(x)
    x = kl.Dropout(0.4)(kl.GlobalAveragePooling2D(name="pool5")(x))
    return kl.softmax(x, classes, options.reg, name="labels", initializer=options.initializer)
