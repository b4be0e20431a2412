"""Network architectures: one file each, with a function `layers(x, classes, options)`.

The file's name registers it. It states `SHAPE` and `CLASSES`, the input (H, W, C) and the number of classes
its authors had, and where it can be varied a section `Options`, which the params check.

`layers` gets a batch of normalized images (float, channels last) and returns class probabilities. What
comes before is the same for all and built here: uint8 pixels in, normalization as the first layer, so that
a saved network is complete and cannot be fed wrongly scaled images. A file that states `NORMALIZES = True`
brings its own: it gets the pixels as floats in 0-255.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stages.common import plugins
from stages.common.errors import LearnerError
from stages.common.section import Section

if TYPE_CHECKING:
    import keras


def names() -> list[str]:
    """Every network there is."""
    return plugins.names(__name__)


def options(name: str) -> type[Section]:
    """The options a network takes; importing it for them does not import Keras."""
    kind: type[Section] = getattr(plugins.module(__name__, name), "Options", Section)
    return kind


def normalizes(name: str) -> bool:
    """Whether a network brings its own normalization."""
    return bool(getattr(plugins.module(__name__, name), "NORMALIZES", False))


def build(
    name: str,
    shape: tuple[int, ...],
    classes: int,
    statistics: Mapping[str, list[float]] | None,
    chosen: Section | None = None,
) -> "keras.Model":
    """A network for uint8 images of `shape` (H, W, C).

    `statistics` holds `mean` and `std` per channel in 0-255 to standardize with; None scales to 0-1. A
    network that brings its own normalization uses neither. `chosen` are its options; None takes its defaults.
    Raises LearnerError when the images are too small for the architecture.
    """
    import keras

    inputs = keras.Input(shape, dtype="uint8", name="pixels")
    x = keras.ops.cast(inputs, "float32") if normalizes(name) else _normalized(inputs, statistics)
    try:
        outputs = plugins.module(__name__, name).layers(x, classes, chosen or options(name)())
    except ValueError as error:
        size = "x".join(map(str, shape))
        raise LearnerError(f"{name} cannot take images of {size}: {' '.join(str(error).split())}") from None
    return keras.Model(inputs, outputs, name=name)


def _normalized(pixels: "keras.KerasTensor", statistics: Mapping[str, list[float]] | None) -> Any:
    import keras

    if statistics is None:
        return keras.layers.Rescaling(1 / 255, name="scale")(pixels)
    # A channel that never varies would be divided by zero.
    variance = [max(std, 1.0) ** 2 for std in statistics["std"]]
    layer = keras.layers.Normalization(mean=statistics["mean"], variance=variance, name="standardize")
    return layer(keras.ops.cast(pixels, layer.compute_dtype))
