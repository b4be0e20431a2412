"""VGG19 (Simonyan and Zisserman 2014; design-patterns text, section 4).

Configuration E: sixteen convolutions and three FC layers.

The text's figure prints three convolutions in the third block; its words and its count say four.
"""

from typing import Any

from stages.models.networks import _vgg
from stages.models.networks._vgg import CLASSES, SHAPE, Options

__all__ = ["CLASSES", "SHAPE", "Options", "layers"]


def layers(x: Any, classes: int, options: Options) -> Any:
    """143,667,240 weights for 224x224x3 and 1,000 classes."""
    return _vgg.layers(x, classes, ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)), options)
