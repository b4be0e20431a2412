"""Network architectures: one file each, with a function `layers(x, classes)`. The file's name registers it.

`layers` gets a batch of normalized pictures (float, channels last) and returns class probabilities. What
comes before is the same for all and built here: uint8 pixels in, normalization as the first layer, so that
a saved network is complete and cannot be fed wrongly scaled pictures.
"""

from collections.abc import Mapping
from typing import Any

import keras

from stages import plugins
from stages.errors import LearnerError


def build(
    name: str, shape: tuple[int, ...], classes: int, statistics: Mapping[str, list[float]] | None
) -> keras.Model:
    """A network for uint8 pictures of `shape` (H, W, C).

    `statistics` holds `mean` and `std` per channel in 0-255 to standardize with; None scales to 0-1.
    Raises LearnerError when the pictures are too small for the architecture.
    """
    inputs = keras.Input(shape, dtype="uint8", name="pixels")
    try:
        outputs = plugins.module(__name__, name).layers(_normalized(inputs, statistics), classes)
    except ValueError as error:
        size = "x".join(map(str, shape))
        raise LearnerError(f"{name} cannot take pictures of {size}: {' '.join(str(error).split())}") from None
    return keras.Model(inputs, outputs, name=name)


def _normalized(pixels: keras.KerasTensor, statistics: Mapping[str, list[float]] | None) -> Any:
    if statistics is None:
        return keras.layers.Rescaling(1 / 255, name="scale")(pixels)
    # A channel that never varies would be divided by zero.
    variance = [max(std, 1.0) ** 2 for std in statistics["std"]]
    layer = keras.layers.Normalization(mean=statistics["mean"], variance=variance, name="standardize")
    return layer(keras.ops.cast(pixels, layer.compute_dtype))
