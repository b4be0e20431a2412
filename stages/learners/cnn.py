"""A convolutional network trained from scratch on the packed pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from stages import plugins
from stages.data import crops
from stages.data.augment import Augment
from stages.data.store import Reader
from stages.errors import LearnerError
from stages.learners import History, LearnerParams, OnEpoch
from stages.section import Positive, Section, Seed
from stages.training.optimizers import Optimizer

if TYPE_CHECKING:
    import keras

_FILE = "model.keras"
_NETWORKS = "stages.nets"


def _known(network: str) -> str:
    known = plugins.names(_NETWORKS)
    if network not in known:
        raise PydanticCustomError("network", "allowed: {known}", {"known": ", ".join(known)})
    return network


class Training(Section):
    """How long and in what portions; the seed decides all that is drawn: weights, order, pictures, dropout.

    `balanced` draws as many pictures of each class; an epoch has as many as the train split all the same.
    """

    epochs: Positive
    batch_size: Positive
    balanced: bool
    seed: Seed


class Params(LearnerParams):
    """A network of stages/nets, its normalization and its training.

    `normalize` becomes the network's first layer: `scale` divides by 255, `standardize` subtracts the train
    split's mean and divides by its standard deviation, per channel. With `patch`, [height, width] in pixels,
    the network sees random patches in training and the centre afterwards (Practitioner Bundle ch. 10).
    """

    kind: Literal["cnn"]
    input: Literal["data/packed"]
    network: Annotated[str, AfterValidator(_known)]
    normalize: Literal["scale", "standardize"]
    patch: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None
    augment: Augment | None
    optimizer: Optimizer
    train: Training

    @model_validator(mode="after")
    def _watch_the_network(self) -> Self:
        expected = f"stages/nets/{self.network}.py"
        if self.code != expected:
            raise PydanticCustomError(
                "code",
                "code is {given}; must be {expected}",
                {"given": repr(self.code), "expected": expected},
            )
        return self


class Network:
    """A Keras model that takes uint8 pictures (N, H, W, C) and gives class probabilities (N, K)."""

    def __init__(self, model: "keras.Model | None", params: Params | None) -> None:
        self._model, self._params = model, params

    def fit(self, train: Reader, val: Reader, on_epoch: OnEpoch) -> History:
        """Build the network for these pictures, or patches of them, and train it; one entry per epoch.

        Raises LearnerError when the pictures are too small for the network or the patch, or the loss is no
        longer a number.
        """
        import keras

        from stages import nets
        from stages.data.loader import Loader
        from stages.training import loop

        assert self._params is not None
        settings, augment = self._params.train, self._params.augment
        patch = _patch(self._params, train)
        keras.utils.set_random_seed(settings.seed)
        self._model = nets.build(
            self._params.network,
            shape=(*(patch or train.shape[1:3]), train.shape[3]),
            classes=len(train.provenance["classes"]),
            statistics=train.provenance["stats"] if self._params.normalize == "standardize" else None,
        )
        seed, size, balanced = settings.seed, settings.batch_size, settings.balanced
        with (
            Loader(train, size, seed=seed, augment=augment, patch=patch, balanced=balanced) as batches,
            Loader(val, size, patch=patch, soft=batches.soft) as val_batches,
        ):
            return loop.fit(
                self._model, self._params.optimizer, batches, val_batches, settings.epochs, on_epoch
            )

    def predict_proba(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Class probabilities (N, K) of uint8 pictures (N, H, W, C); of larger ones, of their centre."""
        assert self._model is not None
        _, height, width, _ = self._model.input_shape
        pixels = np.ascontiguousarray(crops.centre(rows, (height, width)))
        return np.asarray(self._model.predict_on_batch(pixels), np.float32)

    def save(self, folder: Path) -> None:
        """Write architecture, weights and optimizer state in Keras' own format, which holds no code."""
        assert self._model is not None
        self._model.save(folder / _FILE)


def create(params: Params) -> Network:
    """An untrained network; it is built when the pictures' size is known."""
    return Network(None, params)


def load(folder: Path) -> Network:
    """A trained network. Raises LearnerError when Keras cannot read it."""
    import keras

    model = keras.saving.load_model(folder / _FILE, safe_mode=True)
    if not isinstance(model, keras.Model):
        raise LearnerError(f"{folder / _FILE} holds no model")
    return Network(model, None)


def _patch(params: Params, rows: Reader) -> crops.Patch | None:
    if params.patch is None:
        return None
    height, width = params.patch
    if height > rows.shape[1] or width > rows.shape[2]:
        raise LearnerError(
            f"patch is {height}x{width}; the pictures of {rows.path} are {rows.shape[1]}x{rows.shape[2]}: "
            "make patch smaller or resize.size larger"
        )
    return height, width
