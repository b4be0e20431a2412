"""Networks of keras.applications with their authors' ImageNet weights (Starter Bundle ch. 20)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.common import log
from stages.common.errors import ParamsError
from stages.data.decoding import MAX_PIXELS
from stages.models import backbones
from stages.serving import intake

_BATCH = 16


def classify(network: str, weights: str, paths: Sequence[Path]) -> tuple[list[str], NDArray[np.float32]]:
    """Classify images by one of ImageNet's 1,000 classes.

    Args:
        network: The name of a network of keras.applications.
        weights: `imagenet`, which Keras downloads, or a file.
        paths: The images (N).

    Returns:
        The names of the classes, or their numbers where the names cannot be downloaded, and probabilities
        (N, 1000).

    Raises:
        ParamsError: The network is unknown, or the weights are missing or of another network.
        ImageError: A file is no image.
    """
    backbones.constructor(network)
    if weights != "imagenet" and not Path(weights).expanduser().is_file():
        raise ParamsError(f"--weights {weights}: no such file; without it, Keras downloads ImageNet's")
    model = backbones.whole_network(network, weights)
    height, width = model.input_shape[1:3]
    resize = {"size": [height, width], "keep_aspect": True, "color": "rgb", "quality": "exact"}
    batches = []
    for start in range(0, len(paths), _BATCH):
        pixels = [intake.prepared(path, resize, MAX_PIXELS) for path in paths[start : start + _BATCH]]
        batches.append(np.asarray(model.predict_on_batch(np.stack(pixels)), np.float32))
    probabilities = np.concatenate(batches)
    return _names(probabilities.shape[1]), probabilities


def _names(classes: int) -> list[str]:
    try:
        return backbones.imagenet_names()
    except OSError as error:
        log.warning(
            "numbered_classes", reason=f"the names of ImageNet's classes cannot be downloaded: {error}"
        )
        return [str(number) for number in range(classes)]
