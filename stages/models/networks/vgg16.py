"""VGG16 (Simonyan and Zisserman 2014; design-patterns text, section 4).

Configurations C and D: thirteen convolutions and three FC layers. The text's table prints C like D; in the
paper the third convolution of the last three blocks of C is 1x1, as its count of weights says.
"""

from typing import Any, Literal

from stages.models.networks import _vgg
from stages.models.networks._vgg import CLASSES, SHAPE

__all__ = ["CLASSES", "SHAPE", "Options", "layers"]


class Options(_vgg.Options):
    """What can be varied.

    Attributes:
        configuration: D is what VGG16 means everywhere; C has three convolutions of 1x1.
    """

    configuration: Literal["C", "D"] = "D"


def layers(x: Any, classes: int, options: Options) -> Any:
    """138,357,544 weights for 224x224x3 and 1,000 classes; 133,638,952 in configuration C."""
    last = 1 if options.configuration == "C" else 3
    return _vgg.layers(x, classes, ((3, 3), (3, 3), (3, 3, last), (3, 3, last), (3, 3, last)), options)
