"""Any network of keras.applications, from scratch or pretrained, with its own preprocessing inside.

So it takes uint8 images like every other network, and nothing outside needs to know whether its authors
subtracted ImageNet's means from BGR (VGG, ResNet), scaled to -1-1 (MobileNet, Inception) or did nothing.
Starter Bundle ch. 20, Practitioner Bundle ch. 3 and 5.
"""

import sys
import textwrap
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from stages.common.errors import LearnerError
from stages.common.section import Section
from stages.models.networks import _layers as kl

if TYPE_CHECKING:
    import keras

SHAPE = (224, 224, 3)
CLASSES = 1000
NORMALIZES = True

# Arguments of one constructor, such as {alpha: 0.35}.
Arguments = Mapping[str, float | int | bool]


class Options(Section):
    """Which network, from which weights, and how its last feature maps become a vector.

    `weights` is null (random), `imagenet` (downloaded by Keras once) or a file of the network without its
    top. `backbone_options` go to Keras' constructor, such as `{alpha: 0.35}` of MobileNetV2.
    """

    backbone: str = "MobileNetV2"
    weights: Annotated[str, Field(min_length=1)] | None = None
    pooling: Literal["avg", "max"] = "avg"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    backbone_options: dict[str, float | int | bool] = Field(default_factory=dict)


def layers(x: Any, classes: int, options: Options) -> Any:
    """Preprocessing → the backbone → pooling → dropout → FC softmax; every layer is trained."""
    features = _body(x, options.backbone, options.weights, options.backbone_options).output
    pool = kl.GlobalAveragePooling2D if options.pooling == "avg" else kl.GlobalMaxPooling2D
    return kl.softmax(kl.Dropout(options.dropout)(pool()(features)), classes)


def backbone(
    name: str, shape: tuple[int, ...], weights: str | None, options: Arguments | None = None
) -> "keras.Model":
    """A network of keras.applications without its top: uint8 (N, H, W, C) → its last feature maps, float.

    `shape` is (H, W, C); gray images (C = 1) are repeated to three channels. Its layers are those of Keras,
    under their names, so that some of them can be frozen. Raises LearnerError for a name Keras does not know,
    options or a shape the network does not take, and weights that are missing or of another network.
    """
    import keras

    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    body = _body(keras.ops.cast(pixels, "float32"), name, weights, options or {})
    # The same layers, from the pixels on: Keras' own model lists its inputs.
    return keras.Model(pixels, body.output, name=body.name)


def pretrained(name: str, weights: str) -> "keras.Model":
    """A whole network with its 1,000 classes of ImageNet: uint8 (N, H, W, 3), in its own size → (N, 1000).

    `weights` is `imagenet` (downloaded by Keras once) or a file. Raises LearnerError as `backbone`.
    """
    import keras

    build = constructor(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = build(weights=weights if weights == "imagenet" else str(Path(weights).expanduser()))
    except Exception as error:
        reason = textwrap.shorten(str(error), 300)
        raise LearnerError(f"{name} with weights {weights!r} cannot be built: {reason}") from None
    pixels = keras.Input(network.input_shape[1:], dtype="uint8", name="pixels")
    prepared = sys.modules[build.__module__].preprocess_input(keras.ops.cast(pixels, "float32"))
    return keras.Model(pixels, network(prepared), name=network.name)


def imagenet_names() -> list[str]:
    """The names of ImageNet's 1,000 classes, which Keras downloads once. Raises OSError when it cannot."""
    import keras
    import numpy as np

    try:
        decoded = keras.applications.imagenet_utils.decode_predictions(np.ones((1, CLASSES)), top=CLASSES)
    except Exception as error:  # Keras raises nothing more special when a download fails
        raise OSError(textwrap.shorten(str(error), 200)) from None
    # By wordnet's ids, in whose order the classes are.
    return [name for _, name, _ in sorted(decoded[0])]


def constructor(name: str) -> Any:
    """The function of keras.applications of this name, in any spelling: `MobileNetV2`, `mobilenet_v2`."""
    import keras

    # Its modules are no choices: `vgg16` holds the function VGG16.
    known = {
        one.lower(): function for one, function in vars(keras.applications).items() if callable(function)
    }
    found = known.get(name.replace("_", "").lower())
    if found is None:
        allowed = ", ".join(sorted(function.__name__ for function in known.values()))
        raise LearnerError(f"keras.applications has no network {name!r}; allowed: {allowed}")
    return found


def _body(pixels: Any, name: str, weights: str | None, options: Arguments) -> "keras.Model":
    """The network behind its preprocessing, both on top of float pixels in 0-255."""
    build = constructor(name)
    if weights not in {None, "imagenet"} and not Path(str(weights)).expanduser().is_file():
        raise LearnerError(f"weights {weights!r} of {name} are neither 'imagenet' nor a file that exists")
    colored = pixels if pixels.shape[-1] == 3 else kl.Concatenate()([pixels] * 3)
    # Each network's module has the preprocessing that its weights were trained with.
    prepared = sys.modules[build.__module__].preprocess_input(colored)
    try:
        with warnings.catch_warnings():
            # Keras warns of every layer that a foreign file does not fit, and then raises.
            warnings.simplefilter("ignore")
            file = weights and weights != "imagenet" and str(Path(weights).expanduser())
            network: keras.Model = build(
                include_top=False,
                weights=file or weights,
                input_shape=tuple(colored.shape[1:]),
                input_tensor=prepared,
                **options,
            )
    except Exception as error:  # Keras raises nothing more special when a download fails
        size = "x".join(map(str, pixels.shape[1:]))
        reason = textwrap.shorten(str(error), 300)
        raise LearnerError(f"{name} with images of {size} cannot be built: {reason}") from None
    return network
