"""A multilayer perceptron on the pixels (Starter Bundle ch. 10). The learner `mlp` needs no Keras."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from stages.common.section import Positive
from stages.models.networks import _layers as kl

SHAPE = (28, 28, 1)
CLASSES = 10


class Options(kl.Style):
    """What can be varied.

    Attributes:
        widths: of the hidden layers.
        activation: behind each of them; the book's first MLP on MNIST has sigmoid.
        dropout: the share of each hidden layer's outputs that dropout leaves out.
    """

    widths: Annotated[Sequence[Positive], Field(min_length=1)] = (256, 128)
    activation: kl.Activation = "sigmoid"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


def layers(x: Any, classes: int, options: Options) -> Any:
    """(FC → activation → dropout) per width → FC softmax.

    235,146 weights for 28x28x1, widths 256 and 128 and 10 classes; 3,676,682 for 32x32x3, 1024 and 512.
    """
    x = kl.flattened(x)
    for width in options.widths:
        x = kl.dense(x, width, style=options)
        x = kl.Dropout(options.dropout)(x) if options.dropout else x
    return kl.softmax(x, classes, initializer=options.initializer)
