"""A pretrained backbone as an extractor: Practitioner Bundle ch. 3."""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.common.keras_import import import_keras
from stages.models import backbones
from stages.models.protocols import Extract, ExtractorParams

_WEIGHTS_FILE = "backbone.weights.h5"


class Params(ExtractorParams):
    """A backbone, its weights, and how its feature maps become a vector.

    Attributes:
        backbone: a network of keras.applications in any spelling: `MobileNetV2`, `mobilenet_v2`.
        weights: `imagenet` (downloaded by Keras once) or a file of the network without its top.
        sha256: of that file. DVC watches the params and not the file; with it a new file is a change.
        layer: the layer whose output is taken, by Keras' name; null takes the last one. Early layers respond
            to edges and textures, late ones to parts of objects (Practitioner Bundle ch. 3 cuts VGG16 at its
            last pooling and says that any layer will do).
        pooling: `avg` and `max` over the map's pixels give one number per channel; `flatten` keeps all.
        mirror: average the features of an image and of its mirror image: twice the time, for images whose
            sides mean nothing.
        options: arguments of the network's constructor, such as `{alpha: 0.35}`.
    """

    kind: Literal["keras_applications"]
    backbone: str
    weights: backbones.Weights
    sha256: backbones.Sha256 | None = None
    layer: str | None = Field(default=None, min_length=1)
    pooling: Literal["avg", "max", "flatten"] = "avg"
    mirror: bool = False
    options: dict[str, float | int | bool] = Field(default_factory=dict)


def prepare(params: Params, shape: tuple[int, ...]) -> Extract:
    """Build the backbone, its preprocessing inside: a quarter of the bytes to the device, and its arithmetic.

    Args:
        params: which backbone.
        shape: (H, W, C) of the images; gray ones are repeated to three channels.

    Raises:
        ParamsError: as `backbones.feature_network`.
    """
    import_keras()
    import keras

    from stages.models.networks._forward import forward

    maps = backbones.feature_network(
        params.backbone, shape, params.weights, params.sha256, params.options, params.layer
    )
    pools = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
        "flatten": keras.layers.Flatten,
    }
    network = keras.Model(maps.input, pools[params.pooling]()(maps.output))

    def extract(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        views = [pixels, pixels[:, :, ::-1]] if params.mirror else [pixels]
        features: NDArray[np.float32] = np.mean([forward(network, view) for view in views], axis=0)
        return features

    return extract


def save_weights(params: Params, shape: tuple[int, ...], folder: Path) -> None:
    """Write the weights into `folder`, so that a served model needs neither this machine nor the internet.

    Args:
        params: which backbone and weights.
        shape: (H, W, C) of the images.
        folder: an existing folder.

    Raises:
        ParamsError: the weights are missing or changed.
    """
    file = backbones.checked_weights(params.weights, params.sha256)
    backbones.save_weights(params.backbone, (*shape[:2], 3), file, params.options, folder / _WEIGHTS_FILE)


def with_saved_weights(params: Params, folder: Path) -> Params:
    """The same params, with the weights that `save_weights` wrote into `folder`."""
    # The digest, where there is one, is of another file: the weights are saved with other bytes.
    return params.model_copy(update={"weights": str(folder / _WEIGHTS_FILE), "sha256": None})
