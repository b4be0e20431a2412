"""VGG13 (Simonyan and Zisserman 2014; design-patterns text, section 4).

Configuration B: ten convolutions and three FC layers.
"""

from typing import Annotated, Any

from pydantic import Field

from stages.models.networks import _layers as kl

SHAPE = (224, 224, 3)
CLASSES = 1000


class Options(kl.Style):
    """What can be varied.

    Attributes:
        reg: strength of L2 on every layer's weights: 0.0005 in the paper, none in the text's code.
    """

    reg: Annotated[float, Field(ge=0)] = 0.0


def layers(x: Any, classes: int, options: Options) -> Any:
    """Five blocks of CONV 3x3 and POOL 2x2, two FC 4096 with dropout, FC softmax.

    133,047,848 weights for 224x224x3 and 1,000 classes.
    """
    kernels = ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3))
    return kl.vgg(x, classes, kernels, options, options.reg)
