"""A bundle at work: images of any kind → class probabilities."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from stages.common import plugins
from stages.common.errors import ImageError, ServingError
from stages.common.files import read_json
from stages.common.parallel import mapped
from stages.data import crops
from stages.data.decoding import Pixels
from stages.models import extractors, learners
from stages.models.protocols import Extract, Learner
from stages.serving import bundle, intake

VIEWS: tuple[str, ...] = get_args(crops.Crops)
# Images in memory at a time, at their full size one per thread.
_BATCH = 64


class Classifier:
    """A member or an ensemble, ready for images. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        """Load a bundle. Raises ServingError when the folder holds none, LearnerError as learners.load."""
        try:
            spec = read_json(folder / bundle.SPEC)
            self.classes: list[str] = spec["classes"]
            self.crops: str = spec["crops"]
            self.resize: dict[str, Any] = spec["resize"]
            self._members: list[dict[str, Any]] = spec["members"]
        except (OSError, ValueError, KeyError) as error:
            raise ServingError(f"{folder} holds no model of this version: {error!r}") from None
        self._learners: dict[str, Learner] = {
            one["name"]: learners.load(folder / bundle.MEMBERS / one["name"]) for one in self._members
        }
        described = {one["extractor"]["name"]: one["extractor"] for one in self._members if one["extractor"]}
        self._extractors = {name: self._prepared(folder, about) for name, about in described.items()}
        # One forward pass uses every core already; two at once would only hold more memory.
        self._one_at_a_time = threading.Lock()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the images that the members read."""
        height, width = self.resize["size"]
        return height, width, 3 if self.resize["color"] == "rgb" else 1

    def __call__(
        self, images: Sequence[Any], *, views: str, max_pixels: int, damaged: bool = False
    ) -> NDArray[np.float32]:
        """Class probabilities (N, K) of files' bytes, paths and arrays, as intake.prepared takes them.

        Members trained on patches see what `views` says: `center`, or `ten` crops. Without `damaged`, a JPEG
        whose decoder has to guess pixels is refused.
        Raises ImageError with the number of the first image that cannot be used, counted from 0.
        """

        def prepare(numbered: tuple[int, Any]) -> Pixels:
            number, given = numbered
            try:
                return intake.prepared(given, self.resize, max_pixels, damaged=damaged)
            except ImageError as error:
                raise ImageError(f"image {number}: {error}") from None

        found = np.empty((len(images), len(self.classes)), np.float32)
        for start in range(0, len(images), _BATCH):
            numbered = enumerate(images[start : start + _BATCH], start)
            pixels = np.stack(list(mapped(prepare, numbered)))
            with self._one_at_a_time:
                found[start : start + len(pixels)] = self._forward(pixels, views)
        return found

    def _forward(self, pixels: Pixels, views: str) -> NDArray[np.float32]:
        inputs: dict[str | None, NDArray[Any]] = {None: pixels}
        inputs |= {name: extract(pixels) for name, extract in self._extractors.items()}
        average = np.zeros((len(pixels), len(self.classes)))
        for member in self._members:
            learner = self._learners[member["name"]]
            rows = inputs[member["extractor"]["name"] if member["extractor"] else None]
            if views == "ten" and member["patch"]:
                found = np.mean([learner.predict_proba(v) for v in crops.ten(rows, member["patch"])], axis=0)
            else:
                found = learner.predict_proba(rows)
            average += member["weight"] * found.astype(np.float64)
        return average.astype(np.float32)

    def _prepared(self, folder: Path, about: dict[str, Any]) -> Extract:
        values = {key: value for key, value in about.items() if key != "name"}
        module = plugins.module(extractors.__name__, values["kind"])
        kept = folder / bundle.EXTRACTORS / about["name"]
        params = module.Params.model_validate(values)
        return extractors.prepare(
            module.with_saved_weights(params, kept) if kept.exists() else params, self.shape
        )
