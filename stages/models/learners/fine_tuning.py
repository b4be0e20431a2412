"""A pretrained backbone with a new head, trained in two phases: Practitioner Bundle ch. 5.

First the head alone learns, on top of a frozen backbone: the large gradients of random weights would destroy
the pretrained filters. Then the last layers of the backbone learn with it, at a low rate.

Batch normalization of the backbone stays in inference mode and keeps its weights in both phases, unfrozen
layers included: the statistics of a large set are better than those of small batches of a small one, and
features that shift as they are re-estimated undo what the head has learnt. The books' backbones (VGG16) have
none.
"""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from stages.common.errors import LearnerError
from stages.common.history import History, OnEpoch
from stages.common.section import Positive, Section
from stages.data.augment import Augment
from stages.data.store import Reader
from stages.models import backbones
from stages.models.learners import cnn
from stages.models.protocols import LearnerParams
from stages.models.training import schedules
from stages.models.training.durations import Duration
from stages.models.training.optimizers import Optimizer
from stages.models.training.settings import Settings

if TYPE_CHECKING:
    import keras


class Body(Section):
    """The backbone and its weights.

    Attributes:
        backbone: a network of keras.applications in any spelling.
        weights: `imagenet` (downloaded by Keras once), a file of the network without its top, or null for
            random ones.
        sha256: of that file. DVC watches the params and not the file; with it a new file is a change.
        options: arguments of the network's constructor, such as `{alpha: 0.35}`.
    """

    backbone: str
    weights: backbones.Weights | None
    sha256: backbones.Sha256 | None
    options: dict[str, float | int | bool]


class Head(Section):
    """How the last feature maps become a vector, and then: FC → ReLU → dropout for each width.

    Attributes:
        pooling: each map's mean (avg), its maximum, or all of its values (flatten).
        hidden: widths of the fully connected layers; []: none.
        dropout: the share of values that training leaves out behind each of them.
    """

    pooling: Literal["avg", "max", "flatten"]
    hidden: list[Positive]
    dropout: Annotated[float, Field(ge=0, lt=1)]


class WarmUp(Duration):
    """How long the head learns alone, and with which optimizer.

    Attributes:
        optimizer: of this phase.
    """

    optimizer: Optimizer


class FineTune(Duration):
    """How long the backbone learns too, and from which layer on.

    Attributes:
        optimizer: of this phase; its rate should be low.
        unfreeze: the name of the first layer that learns, or the share (above 0, up to 1) of the backbone's
            layers with weights, counted from its end.
    """

    optimizer: Optimizer
    unfreeze: Annotated[str, Field(min_length=1)] | Annotated[float, Field(gt=0, le=1)]


class Params(LearnerParams):
    """The pretrained backbone, the new head, and the phases.

    Attributes:
        body: the backbone and its weights.
        head: the layers after it.
        augment: random changes to training images; null: none.
        warm_up: the phase in which the head learns alone.
        fine_tune: the phase in which the end of the backbone learns too; null: there is none.
        train: all other settings, of both phases.
    """

    kind: Literal["fine_tuning"]
    input: Literal["data/packed"]
    code: Literal["stages/models/backbones.py"]
    body: Body
    head: Head
    augment: Augment | None
    warm_up: WarmUp
    fine_tune: FineTune | None
    train: Settings

    @field_validator("train")
    @classmethod
    def _check_no_snapshots(cls, value: Settings) -> Settings:
        if value.keep == "snapshots":
            raise PydanticCustomError("keep", "keep is 'snapshots'; allowed in two phases: last, best")
        return value

    @model_validator(mode="after")
    def _check_schedules_fit(self) -> Self:
        for name, phase in (("warm_up", self.warm_up), ("fine_tune", self.fine_tune)):
            if phase:
                schedules.check_fits(phase.optimizer.schedule, phase, f"{name}.optimizer", name)
        return self


class FineTuned(cnn.Network):
    """A Keras model: images uint8 (N, H, W, C) → class probabilities (N, K)."""

    def __init__(self, params: Params) -> None:
        super().__init__(None, None)
        self._tuning = params

    def fit(self, train: Reader, val: Reader, on_epoch: OnEpoch) -> History:
        """Train the head, then the end of the backbone too, where the params say so.

        Returns:
            One history, whose series `phase` is 1 or 2; epochs count on from one phase to the next.

        Raises:
            ParamsError: the backbone cannot be built, see `backbones.attach`.
            LearnerError: the backbone has no layer of the name to unfreeze from, or the loss is not a number.
        """
        with self._on_all_devices(self._tuning.train):
            return self._fit(train, val, on_epoch)

    def _fit(self, train: Reader, val: Reader, on_epoch: OnEpoch) -> History:
        import keras

        from stages.models.training import computing

        params, settings = self._tuning, self._tuning.train
        keras.utils.set_random_seed(settings.seed)
        with computing.precision(settings.precision):
            self._model, body = build(params, train.shape[1:], len(train.provenance["classes"]))
        # Looked up before an hour of warm-up, so that a wrong name fails now.
        unfrozen = last_layers(body, params.fine_tune.unfreeze) if params.fine_tune else []
        with self._training(settings, params.augment, None, train, val, on_epoch) as trainer:
            trainer.fit(params.warm_up.optimizer, params.warm_up)
            for layer in unfrozen:
                layer.trainable = True
            if params.fine_tune:
                trainer.fit(params.fine_tune.optimizer, params.fine_tune)
        return trainer.history


def create(params: Params) -> FineTuned:
    """Make an untrained network; it is built when the images' size is known."""
    return FineTuned(params)


def load(folder: Path) -> cnn.Network:
    """Load a trained network.

    Raises:
        LearnerError: Keras cannot read it.
    """
    return cnn.load(folder)


def build(params: Params, shape: tuple[int, ...], classes: int) -> "tuple[keras.Model, list[keras.Layer]]":
    """Build the network with a frozen backbone.

    Args:
        params: backbone and head.
        shape: (H, W, C) of the images.
        classes: their number K.

    Returns:
        The network, uint8 (N, H, W, C) → probabilities (N, K), and the backbone's layers that have weights.

    Raises:
        ParamsError: as `backbones.attach`.
    """
    import keras
    from keras import layers as kl

    chosen = params.body
    body = backbones.feature_network(chosen.backbone, shape, chosen.weights, chosen.sha256, chosen.options)
    body.trainable = False
    pools = {"avg": kl.GlobalAveragePooling2D, "max": kl.GlobalMaxPooling2D, "flatten": kl.Flatten}
    x = pools[params.head.pooling](name="head_pool")(body.output)
    for number, width in enumerate(params.head.hidden, 1):
        x = kl.Dense(width, activation="relu", name=f"head_{number}")(x)
        x = kl.Dropout(params.head.dropout, name=f"head_dropout_{number}")(x)
    x = kl.Dense(classes, activation="softmax", dtype="float32", name="head")(x)
    return keras.Model(body.input, x, name=body.name), [layer for layer in body.layers if layer.weights]


def last_layers(body: "list[keras.Layer]", unfreeze: str | float) -> "list[keras.Layer]":
    """The layers at the end of the backbone that learn in the second phase, without batch normalization.

    Args:
        body: the backbone's layers that have weights, in order.
        unfreeze: the first layer's name, or the share of layers.

    Raises:
        LearnerError: no layer with weights has this name, or none that learns is chosen.
    """
    import keras

    names = [layer.name for layer in body]
    if isinstance(unfreeze, str):
        if unfreeze not in names:
            similar = difflib.get_close_matches(unfreeze, names, n=3, cutoff=0.0)
            raise LearnerError(
                f"fine_tune.unfreeze is {unfreeze!r}; no layer with weights has this name; "
                f"similar names: {', '.join(similar)}"
            )
        start = names.index(unfreeze)
    else:
        start = len(body) - max(1, round(unfreeze * len(body)))
    layers = [layer for layer in body[start:] if not isinstance(layer, keras.layers.BatchNormalization)]
    if not layers:
        chosen = ", ".join(names[start:])
        raise LearnerError(
            f"fine_tune.unfreeze is {unfreeze!r}; must choose more than batch normalization, which does not "
            f"learn: {chosen}"
        )
    return layers
