"""A network trained from scratch on the packed images."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.common import ranks
from stages.common.errors import LearnerError
from stages.common.history import History, OnEpoch
from stages.common.keras_import import import_keras
from stages.data import crops
from stages.data.augment import Augment
from stages.data.store import Reader
from stages.models import networks
from stages.models.learners._cnn_params import FILE, Params
from stages.models.training.monitor import Draw
from stages.models.training.settings import Settings

if TYPE_CHECKING:
    import keras

    from stages.data.loader import Share
    from stages.models.training.continuation import Earlier
    from stages.models.training.loop import Trainer
    from stages.models.training.range_test import RangeTest

__all__ = ["Network", "Params", "create", "load", "patch_size"]


class Network:
    """A Keras model as a learner: images uint8 (N, H, W, C) → class probabilities (N, K).

    Attributes:
        checkpoints: the folder of the checkpoints; None trains without.
        draw_curves: draws the history of a running training into a PNG file; None leaves it out.
        on_built: called with this object when the network is built, before it is trained; None: nothing is.
    """

    def __init__(self, model: "keras.Model | None", params: Params | None) -> None:
        self._model, self._params = model, params
        self.checkpoints: Path | None = None
        self.draw_curves: Draw | None = None
        self.on_built: Callable[[Network], None] | None = None
        self._earlier: Earlier | None = None
        self._share: Share | None = None

    def fit(self, train: Reader, val: Reader, on_epoch: OnEpoch) -> History:
        """Build the network for these images, or patches of them, and train it.

        Returns:
            The history of `training.loop.Trainer`.

        Raises:
            LearnerError: the images are too small for the network or the patch, or the loss is not a number.
            TrainingInterruptedError: SIGTERM came.
        """
        assert self._params is not None
        settings = self._params.train
        with ExitStack() as stack:
            if settings.keep == "snapshots" and self.checkpoints is None:
                self.checkpoints = Path(stack.enter_context(TemporaryDirectory(prefix="convoy-snapshots-")))
            with self._on_all_devices(settings):
                patch = self._build(self._params, train)
                with self._training(settings, self._params.augment, patch, train, val, on_epoch) as trainer:
                    trainer.fit(self._params.optimizer, settings)
            if settings.keep == "snapshots" and ranks.is_first():
                self._average_snapshots()
        return trainer.history

    @contextmanager
    def _on_all_devices(self, settings: Settings) -> Iterator[None]:
        """Build and train in this block; afterwards the network is this process's own."""
        import_keras()
        from stages.models.training import computing, distribution

        if settings.deterministic:
            # Before a device is looked for: TensorFlow reads the setting once.
            computing.deterministic()
        with distribution.over_all_devices(settings.batch_size) as devices:
            self._share = devices.share
            yield
        assert self._model is not None
        self._model = devices.local(self._model)

    def _average_snapshots(self) -> None:
        from stages.models.training import snapshots

        assert self.checkpoints is not None
        assert self._model is not None
        files = sorted((self.checkpoints / snapshots.FOLDER).glob("*.npz"))
        self._model = snapshots.averaged(self._model, files)

    def range_test(self, train: Reader, steps: int) -> "RangeTest":
        """Build the network and try learning rates on it, one per batch; raises as `fit` does."""
        assert self._params is not None
        patch = self._build(self._params, train)
        with self._training(
            self._params.train, self._params.augment, patch, train, train, lambda *_: None
        ) as trainer:
            return trainer.range_test(self._params.optimizer, steps)

    def _build(self, params: Params, train: Reader) -> crops.Patch | None:
        """Build a new network for these images, or for patches of them; returns the patches' size."""
        import_keras()
        import keras

        from stages.models.training import computing, continuation

        settings, patch = params.train, patch_size(params, train)
        if settings.deterministic:
            computing.deterministic()
        keras.utils.set_random_seed(settings.seed)
        with computing.precision(settings.precision):
            self._model = networks.build(
                params.network,
                shape=(*(patch or train.shape[1:3]), train.shape[3]),
                classes=len(train.provenance["classes"]),
                statistics=train.provenance["stats"] if params.normalize == "standardize" else None,
                chosen=params.options,
            )
        if origin := params.start_from:
            start = continuation.of_member if origin.member else continuation.of_checkpoint
            origin.check()
            self._earlier = start(self._model, origin.file)
        return patch

    @contextmanager
    def _training(
        self,
        settings: Settings,
        augment: Augment | None,
        patch: crops.Patch | None,
        train: Reader,
        val: Reader,
        on_epoch: OnEpoch,
    ) -> "Iterator[Trainer]":
        """Open the batches and yield the trainer of the network, which is built."""
        from stages.data.loader import Loader
        from stages.models.training import regularization
        from stages.models.training.loop import Trainer

        size, soft, share = settings.batch_size, settings.label_smoothing > 0, self._share
        seed, balanced = settings.seed, settings.balanced
        labels, classes = train.column("labels"), len(train.provenance["classes"])
        weights = (
            regularization.class_weights(labels, classes) if settings.class_weights == "balanced" else None
        )
        if self.on_built:
            self.on_built(self)
        with (
            Loader(
                train,
                size,
                seed=seed,
                augment=augment,
                patch=patch,
                balanced=balanced,
                soft=soft,
                class_weights=weights,
                share=share,
            ) as batches,
            Loader(val, size, patch=patch, soft=batches.soft, share=share) as val_batches,
        ):
            yield Trainer(
                self._model,
                settings,
                batches,
                val_batches,
                on_epoch,
                self.checkpoints,
                self.draw_curves,
                self._earlier,
            )

    def predict_proba(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Class probabilities (N, K) of images uint8 (N, H, W, C); of larger images, of their centre."""
        from stages.models.networks._forward import forward

        assert self._model is not None
        _, height, width, _ = self._model.input_shape
        pixels = np.ascontiguousarray(crops.centre(rows, (height, width)))
        return forward(self._model, pixels)

    def save(self, folder: Path) -> None:
        """Write architecture and weights in Keras' own format, which holds no code.

        The optimizer's state stays out: Adam's would triple the file, momentum double it. A training resumes
        from its checkpoint.
        """
        import keras

        assert self._model is not None
        # The same layers without what `compile` added; Keras' `save` has no switch for it in this format.
        # A tensor and no list of one: an exported SavedModel would take a list, too.
        keras.Model(self._model.input, self._model.output, name=self._model.name).save(folder / FILE)

    def describe(self, folder: Path) -> list[Path]:
        """Write the layers as a table and as a diagram into an existing folder; returns the files."""
        from stages.models.networks import _drawing

        assert self._model is not None
        return _drawing.draw(self._model, folder)


def create(params: Params) -> Network:
    """Make an untrained network; it is built when the images' size is known."""
    return Network(None, params)


def load(folder: Path) -> Network:
    """Load a trained network.

    Raises:
        LearnerError: the file holds no Keras model.
    """
    import_keras()
    import keras

    model = keras.saving.load_model(folder / FILE, safe_mode=True)
    if not isinstance(model, keras.Model):
        raise LearnerError(f"{folder / FILE} holds no model")
    return Network(model, None)


def patch_size(params: Params, rows: Reader) -> crops.Patch | None:
    """The height and width in pixels of the patches of these images; None for whole images.

    Raises:
        LearnerError: the images are smaller.
    """
    if params.patch is None:
        return None
    height, width = params.patch
    if height > rows.shape[1] or width > rows.shape[2]:
        raise LearnerError(
            f"patch is {height}x{width}; the images of {rows.path} are {rows.shape[1]}x{rows.shape[2]}: "
            "make patch smaller or resize.size larger"
        )
    return height, width
