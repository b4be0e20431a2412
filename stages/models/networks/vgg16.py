"""VGG16 (Simonyan and Zisserman 2014; design-patterns text, section 4).

Configurations C and D: thirteen convolutions and three FC layers. The text's table prints C like D; in the
paper the third convolution of the last three blocks of C is 1x1, as its count of weights says.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from stages.models.networks import _layers as kl

SHAPE = (224, 224, 3)
CLASSES = 1000


class Options(kl.Style):
    """What can be varied.

    Attributes:
        configuration: D is what VGG16 means everywhere; C has three convolutions of 1x1.
        reg: strength of L2 on every layer's weights: 0.0005 in the paper, none in the text's code.
    """

    configuration: Literal["C", "D"] = "D"
    reg: Annotated[float, Field(ge=0)] = 0.0


def layers(x: Any, classes: int, options: Options) -> Any:
    """Five blocks of CONV 3x3 and POOL 2x2, two FC 4096 with dropout, FC softmax.

    138,357,544 weights for 224x224x3 and 1,000 classes; 133,638,952 in configuration C.
    """
    last = 1 if options.configuration == "C" else 3
    kernels = ((3, 3), (3, 3), (3, 3, last), (3, 3, last), (3, 3, last))
    return kl.vgg(x, classes, kernels, options, options.reg)
