"""A pretrained network with a new head, trained in two phases: Practitioner Bundle ch. 5.

First the head alone learns, on top of a frozen body: the large gradients of random weights would destroy the
pretrained filters. Then the last layers of the body learn with it, at a low rate.

Batch normalization of the body stays in inference mode and keeps its weights in both phases, unfrozen layers
included: the statistics of a large set are better than those of small batches of a small one, and features
that shift as they are re-estimated undo what the head has learnt. The books' bodies (VGG16) have none.
"""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.common.errors import LearnerError
from stages.common.files import digest
from stages.common.history import History, OnEpoch
from stages.common.section import Positive, Section
from stages.data.augment import Augment
from stages.data.store import Reader
from stages.models.learners import LearnerParams, cnn
from stages.models.training.durations import Duration
from stages.models.training.optimizers import Optimizer
from stages.models.training.settings import Settings

if TYPE_CHECKING:
    import keras


class Body(Section):
    """A network of keras.applications by its name, and its weights.

    `weights` is `imagenet` (downloaded by Keras once), a file of the network without its top, or null for
    random ones. DVC watches the params, not that file: state its `sha256` to have it checked and to make a
    new file a change. `options` go to the network's constructor, such as `{alpha: 0.35}`.
    """

    backbone: str
    weights: Annotated[str, Field(min_length=1)] | None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    options: dict[str, float | int | bool]


class Head(Section):
    """How the last feature maps become a vector, and then: FC → ReLU → dropout for each width."""

    pooling: Literal["avg", "max", "flatten"]
    hidden: list[Positive]
    dropout: Annotated[float, Field(ge=0, lt=1)]


class WarmUp(Duration):
    """How long the head learns alone, and how."""

    optimizer: Optimizer


class FineTune(Duration):
    """How long the body learns too, how, and from where on: a layer's name, or the last share of its layers.

    The share, above 0 to 1, is of the layers that have weights.
    """

    optimizer: Optimizer
    unfreeze: Annotated[str, Field(min_length=1)] | Annotated[float, Field(gt=0, le=1)]


class Params(LearnerParams):
    """The pretrained body, the new head, and the two phases."""

    kind: Literal["fine_tuning"]
    input: Literal["data/packed"]
    code: Literal["stages/models/networks/keras_applications.py"]
    body: Body
    head: Head
    augment: Augment | None
    warm_up: WarmUp
    fine_tune: FineTune
    train: Settings


class FineTuned(cnn.Network):
    """A Keras model that takes uint8 images (N, H, W, C) and gives class probabilities (N, K)."""

    def __init__(self, params: Params) -> None:
        super().__init__(None, None)
        self._chosen = params

    def fit(self, train: Reader, val: Reader, on_epoch: OnEpoch) -> History:
        """Train the head, then more; one history, whose series `phase` says 1 or 2. Epochs go on counting.

        Raises LearnerError when the network cannot be built, has no layer of the name to unfreeze from, or
        the loss is no longer a number.
        """
        import keras

        from stages.models.training import computing

        params, settings = self._chosen, self._chosen.train
        if settings.deterministic:
            computing.deterministic()
        keras.utils.set_random_seed(settings.seed)
        with computing.precision(settings.precision):
            self._model, body = build(params, train.shape[1:], len(train.provenance["classes"]))
        # Before an hour of warm-up.
        trained = last_layers(body, params.fine_tune.unfreeze)
        with self._training(settings, params.augment, None, train, val, on_epoch) as trainer:
            trainer.fit(params.warm_up.optimizer, params.warm_up)
            for layer in trained:
                layer.trainable = True
            trainer.fit(params.fine_tune.optimizer, params.fine_tune)
        return trainer.history


def create(params: Params) -> FineTuned:
    """An untrained network; it is built when the images' size is known."""
    return FineTuned(params)


def load(folder: Path) -> cnn.Network:
    """A trained network. Raises LearnerError when Keras cannot read it."""
    return cnn.load(folder)


def build(params: Params, shape: tuple[int, ...], classes: int) -> "tuple[keras.Model, list[keras.Layer]]":
    """The network for uint8 images (H, W, C), its body frozen, and the body's layers that have weights.

    Raises LearnerError as `keras_applications.backbone` does, or for a file of another SHA-256.
    """
    import keras
    from keras import layers as kl

    from stages.models.networks.keras_applications import backbone

    _check(params.body)
    body = backbone(params.body.backbone, shape, params.body.weights, params.body.options)
    body.trainable = False
    pools = {"avg": kl.GlobalAveragePooling2D, "max": kl.GlobalMaxPooling2D, "flatten": kl.Flatten}
    x = pools[params.head.pooling](name="head_pool")(body.output)
    for number, width in enumerate(params.head.hidden, 1):
        x = kl.Dense(width, activation="relu", name=f"head_{number}")(x)
        x = kl.Dropout(params.head.dropout, name=f"head_dropout_{number}")(x)
    x = kl.Dense(classes, activation="softmax", dtype="float32", name="head")(x)
    return keras.Model(body.input, x, name=body.name), [one for one in body.layers if one.weights]


def last_layers(body: "list[keras.Layer]", unfreeze: str | float) -> "list[keras.Layer]":
    """The layers of the body, batch normalization left out, from a name on or the last share of all.

    Raises LearnerError for a name that no layer with weights has.
    """
    import keras

    names = [layer.name for layer in body]
    if isinstance(unfreeze, str):
        if unfreeze not in names:
            like = difflib.get_close_matches(unfreeze, names, n=3, cutoff=0.0)
            raise LearnerError(
                f"fine_tune.unfreeze is {unfreeze!r}; no such layer with weights, but {', '.join(like)}"
            )
        start = names.index(unfreeze)
    else:
        start = len(body) - max(1, round(unfreeze * len(body)))
    return [layer for layer in body[start:] if not isinstance(layer, keras.layers.BatchNormalization)]


def _check(body: Body) -> None:
    if not body.sha256 or body.weights in {None, "imagenet"}:
        return
    path = Path(str(body.weights)).expanduser()
    if path.is_file() and (found := digest(path)) != body.sha256:
        raise LearnerError(f"weights {path} have sha256 {found}, the params ask for {body.sha256}")
