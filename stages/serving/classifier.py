"""A loaded bundle: images → class probabilities."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from stages.common import plugins
from stages.common.errors import ImageError, ServingError, raise_if_transient
from stages.common.files import read_json
from stages.common.parallel import mapped
from stages.data import crops
from stages.data.decoding import Pixels
from stages.models import extractors, learners
from stages.models.protocols import Extract, Learner
from stages.serving import bundle, intake

VIEWS: tuple[str, ...] = get_args(crops.Crops)
# Images in memory at a time; at their full size one per thread.
_BATCH = 64


class Classifier:
    """A member or an ensemble that classifies images. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        """Load a bundle.

        Args:
            folder: What `stages/serving/bundle.write` wrote.

        Raises:
            ServingError: The folder holds no bundle of this version.
            LearnerError: A member cannot be loaded.
        """
        try:
            spec = read_json(folder / bundle.SPEC)
            self.classes: list[str] = spec["classes"]
            self.crops: str = spec["crops"]
            self.resize: dict[str, Any] = spec["resize"]
            self._members: list[dict[str, Any]] = spec["members"]
        except (OSError, ValueError, KeyError) as error:
            raise_if_transient(error)
            raise ServingError(
                f"{folder} holds no model of this version: {error!r}; register one with make run"
            ) from None
        self._learners: dict[str, Learner] = {
            member["name"]: learners.load(folder / bundle.MEMBERS / member["name"])
            for member in sorted(self._members, key=lambda member: _loads_keras(folder, member["name"]))
        }
        needed = [member["extractor"] for member in self._members if member["extractor"]]
        self._extractors = {extractor["name"]: self._prepare(folder, extractor) for extractor in needed}
        # One forward pass uses every core; two at once would only hold more memory.
        self._forward_lock = threading.Lock()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the images that the members read."""
        height, width = self.resize["size"]
        return height, width, 3 if self.resize["color"] == "rgb" else 1

    def __call__(
        self, images: Sequence[Any], *, views: str, max_pixels: int, damaged: bool = False
    ) -> NDArray[np.float32]:
        """Classify images.

        Args:
            images: Files' bytes, paths or arrays, as `intake.prepared` takes them (N).
            views: What members trained on patches see: `center` or `ten` crops.
            max_pixels: The largest number of pixels of an image.
            damaged: Whether to accept a JPEG whose decoder has to guess pixels.

        Returns:
            Class probabilities (N, K).

        Raises:
            ImageError: With the number, from 0, of the first image that cannot be used, and the reason.
        """

        def prepare(numbered: tuple[int, Any]) -> Pixels:
            number, image = numbered
            try:
                return intake.prepared(image, self.resize, max_pixels, damaged=damaged)
            except ImageError as error:
                raise ImageError(f"image {number}: {error}") from None

        probabilities = np.empty((len(images), len(self.classes)), np.float32)
        for start in range(0, len(images), _BATCH):
            numbered = enumerate(images[start : start + _BATCH], start)
            pixels = np.stack(list(mapped(prepare, numbered)))
            with self._forward_lock:
                probabilities[start : start + len(pixels)] = self._forward(pixels, views)
        return probabilities

    def _forward(self, pixels: Pixels, views: str) -> NDArray[np.float32]:
        inputs: dict[str | None, NDArray[Any]] = {None: pixels}
        inputs |= {name: extract(pixels) for name, extract in self._extractors.items()}
        average = np.zeros((len(pixels), len(self.classes)))
        for member in self._members:
            learner = self._learners[member["name"]]
            rows = inputs[member["extractor"]["name"] if member["extractor"] else None]
            if views == "ten" and member["patch"]:
                predicted = np.mean(
                    [learner.predict_proba(v) for v in crops.ten(rows, member["patch"])], axis=0
                )
            else:
                predicted = learner.predict_proba(rows)
            average += member["weight"] * predicted.astype(np.float64)
        return average.astype(np.float32)

    def _prepare(self, folder: Path, extractor: dict[str, Any]) -> Extract:
        values = {key: value for key, value in extractor.items() if key != "name"}
        module = plugins.module(extractors.__name__, values["kind"])
        weights = folder / bundle.EXTRACTORS / extractor["name"]
        params = module.Params.model_validate(values)
        return extractors.prepare(
            module.with_saved_weights(params, weights) if weights.exists() else params, self.shape
        )


def _loads_keras(folder: Path, member: str) -> bool:
    """Whether a member is a network. These come last: skops searches all loaded modules as it is imported.

    Beside TensorFlow's modules that search takes 1.5 CPU seconds.
    """
    return any((folder / bundle.MEMBERS / member).glob("*.keras"))
