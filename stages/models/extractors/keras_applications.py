"""Any network of keras.applications without its head: Practitioner Bundle ch. 3."""

import shutil
import textwrap
import warnings
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.common.errors import ParamsError
from stages.common.files import digest
from stages.models.extractors import Extract, ExtractorParams

if TYPE_CHECKING:
    import keras

_KEPT = "backbone.weights.h5"


class Params(ExtractorParams):
    """A backbone by its Keras name in any spelling (`MobileNetV2`, `mobilenet_v2`) and its weights.

    `weights` is `imagenet` (downloaded by Keras once) or a file of the network without its top. DVC watches
    the params, not that file: state its `sha256` to have it checked and to make a new file a change.
    `options` go to the network's constructor, such as `{alpha: 0.35}`. With `mirror` the features of a
    image and of its mirror image are averaged: twice the time, for images whose sides mean nothing.
    """

    kind: Literal["keras_applications"]
    backbone: str
    weights: Annotated[str, Field(min_length=1)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    pooling: Literal["avg", "max", "flatten"] = "avg"
    mirror: bool = False
    options: dict[str, float | int | bool] = Field(default_factory=dict)


def prepare(params: Params, shape: tuple[int, ...]) -> Extract:
    """The network's last feature maps, pooled or flattened; with the preprocessing it was trained with.

    Gray images are repeated to three channels. Raises ParamsError for an unknown backbone, options or a
    size it does not take, and weights that are missing, changed or of another network.
    """
    from stages.models.networks._forward import forward

    network = _taking_pixels(*_build(params, (*shape[:2], 3)))

    def extract(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        colored = np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels
        views = [colored, colored[:, :, ::-1]] if params.mirror else [colored]
        found: NDArray[np.float32] = np.mean([features(view) for view in views], axis=0)
        return found

    def features(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return forward(network, pixels).reshape(len(pixels), -1)

    return extract


def keep(params: Params, shape: tuple[int, ...], folder: Path) -> None:
    """Put the weights into `folder`, so that a served model needs neither this machine nor the internet."""
    if params.weights == "imagenet":
        _build(params, (*shape[:2], 3))[0].save_weights(folder / _KEPT)
    else:
        shutil.copyfile(_checked_file(params), folder / _KEPT)


def kept(params: Params, folder: Path) -> Params:
    """The same params with the weights that `keep` put there."""
    return params.model_copy(update={"weights": str(folder / _KEPT)})


def _build(params: Params, shape: tuple[int, ...]) -> "tuple[keras.Model, ModuleType]":
    import sys

    import keras

    constructor = _constructor(params.backbone)
    weights = params.weights if params.weights == "imagenet" else str(_checked_file(params))
    pooling = None if params.pooling == "flatten" else params.pooling
    try:
        with warnings.catch_warnings():
            # Keras warns of every layer that a foreign file does not fit, and then raises.
            warnings.simplefilter("ignore")
            network = constructor(
                include_top=False, weights=weights, input_shape=shape, pooling=pooling, **params.options
            )
    except Exception as error:  # Keras raises nothing more special when a download fails
        reason = textwrap.shorten(str(error), 300)
        raise ParamsError(f"{params.backbone} with input {shape} cannot be built: {reason}") from None
    assert isinstance(network, keras.Model)
    # Each network's module has the preprocess_input that its weights were trained with.
    return network, sys.modules[constructor.__module__]


def _taking_pixels(network: "keras.Model", module: ModuleType) -> "keras.Model":
    """The network with its preprocessing inside: a quarter of the bytes to the device, and its arithmetic."""
    import keras

    pixels = keras.Input(network.input_shape[1:], dtype="uint8", name="pixels")
    return keras.Model(pixels, network(module.preprocess_input(keras.ops.cast(pixels, "float32"))))


def _constructor(backbone: str) -> Any:
    import keras

    # Its modules are no choices: `vgg16` holds the function VGG16.
    networks = {name.lower(): one for name, one in vars(keras.applications).items() if callable(one)}
    found = networks.get(backbone.replace("_", "").lower())
    if found is None:
        known = ", ".join(sorted(one.__name__ for one in networks.values()))
        raise ParamsError(f"keras.applications has no network {backbone!r}; allowed: {known}")
    return found


def _checked_file(params: Params) -> Path:
    path = Path(params.weights).expanduser()
    if not path.is_file():
        raise ParamsError(f"weights {params.weights!r} are neither 'imagenet' nor a file that exists")
    if params.sha256 and (found := digest(path)) != params.sha256:
        raise ParamsError(f"weights {path} have sha256 {found}, the params ask for {params.sha256}")
    return path
