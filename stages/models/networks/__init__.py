"""The networks: one file per architecture, found by its name.

A file holds `SHAPE` and `CLASSES`, the input (H, W, C) and the number of classes that its authors had; a
section `Options` where it can be varied, which the params check; and `layers(x, classes, options)`.

`layers` takes normalized images (float, channels last) and returns class probabilities. The layers before it
are the same for all and built here: uint8 pixels in, normalization as the first layer, so that a saved
network is complete and cannot be fed wrongly scaled images. A file with `NORMALIZES = True` normalizes by
itself: it takes the pixels as floats in 0-255.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stages.common import plugins
from stages.common.errors import LearnerError
from stages.common.keras_import import import_keras
from stages.common.section import Section

if TYPE_CHECKING:
    import keras

# Of Keras' messages: colours, and what it calls every error of a layer.
_COLOR = re.compile(r"\x1b\[\d+m")
_CALLING = re.compile(r"^Exception encountered when calling \S+\. ")


def names() -> list[str]:
    """The names of all networks, sorted."""
    return plugins.names(__name__)


def options(name: str) -> type[Section]:
    """The options that a network takes; this does not import Keras."""
    kind: type[Section] = getattr(plugins.module(__name__, name), "Options", Section)
    return kind


def normalizes(name: str) -> bool:
    """Whether a network normalizes by itself."""
    return bool(getattr(plugins.module(__name__, name), "NORMALIZES", False))


def build(
    name: str,
    shape: tuple[int, ...],
    classes: int,
    statistics: Mapping[str, list[float]] | None,
    chosen: Section | None = None,
) -> "keras.Model":
    """Build a network, not trained.

    Args:
        name: one of `names()`.
        shape: (H, W, C) of the images.
        classes: their number K.
        statistics: `mean` and `std` per channel, in 0-255, to standardize with; None scales to 0-1. A network
            that normalizes by itself uses neither.
        chosen: its options; None takes the defaults.

    Returns:
        A model of images uint8 (N, H, W, C) → class probabilities float32 (N, K).

    Raises:
        LearnerError: the images are too small for the architecture.

    Example:
        networks.build("lenet", (28, 28, 1), classes=10, statistics=None).summary()
    """
    import_keras()
    import keras

    inputs = keras.Input(shape, dtype="uint8", name="pixels")
    x = keras.ops.cast(inputs, "float32") if normalizes(name) else _normalized(inputs, statistics)
    try:
        outputs = plugins.module(__name__, name).layers(x, classes, chosen or options(name)())
    except ValueError as error:
        size = "x".join(map(str, shape))
        raise LearnerError(f"{name} cannot take images of {size}: {_reason(error)}") from None
    return keras.Model(inputs, outputs, name=name)


def _reason(error: ValueError) -> str:
    """What Keras says, without its colours, the layer's class and the list of arguments that follows."""
    text = " ".join(_COLOR.sub("", str(error)).split()).partition(" Arguments received by ")[0]
    return _CALLING.sub("", text)


def _normalized(pixels: "keras.KerasTensor", statistics: Mapping[str, list[float]] | None) -> Any:
    import keras

    if statistics is None:
        return keras.layers.Rescaling(1 / 255, name="scale")(pixels)
    # A channel that never varies would be divided by zero.
    variance = [max(std, 1.0) ** 2 for std in statistics["std"]]
    layer = keras.layers.Normalization(mean=statistics["mean"], variance=variance, name="standardize")
    return layer(keras.ops.cast(pixels, layer.compute_dtype))
