"""What every training of a network is told besides its optimizer and its length."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from stages.common.section import Positive, Section, Seed


class EarlyStopping(Section):
    """Stop when `monitor` has not improved by more than `min_delta` for `patience` epochs."""

    patience: Positive
    min_delta: Annotated[float, Field(ge=0)]


class Settings(Section):
    """Portions, regularization, what is kept and how it is computed.

    The seed decides all that is drawn: weights, order, images, dropout. `balanced` draws as many images
    of each class; an epoch has as many as the train split all the same. `class_weights: balanced` weighs the
    loss of an image by images / (classes x images of its class), counted in the train split, instead;
    mixed labels count as their largest share. `label_smoothing` takes this share of each label and spreads
    it over all classes, in the val loss too. `l2` adds l2 x the sum of squares of all kernels to the loss,
    those left out to which the network itself gives a penalty.

    `monitor` is what early stopping, a plateau and `keep` look at. `keep: best` ends with the weights of the
    best epoch and not of the last. `checkpoint_every` epochs the training is saved, to go on from there if it
    is killed; null: never. `precision` other than float32 computes in 16 bits and keeps weights in 32.
    `deterministic` picks algorithms that give the same bits in each run on the same machine; see
    stages/models/training/computing.py for what that costs.
    """

    batch_size: Positive
    balanced: bool
    class_weights: Literal["none", "balanced"]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    l2: Annotated[float, Field(ge=0)]
    monitor: Literal["val_loss", "val_accuracy"]
    early_stopping: EarlyStopping | None
    keep: Literal["last", "best"]
    checkpoint_every: Positive | None
    precision: Literal["float32", "bfloat16", "float16"]
    xla: Literal["auto"] | bool
    deterministic: bool
    seed: Seed

    @model_validator(mode="after")
    def _balance_once(self) -> Self:
        if self.balanced and self.class_weights == "balanced":
            raise PydanticCustomError(
                "balanced", "balanced and class_weights even out the classes twice; choose one"
            )
        return self
