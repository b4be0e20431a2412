"""Training settings shared by all networks: everything but the optimizer and the duration."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from stages.common.section import Positive, Section, Seed


class EarlyStopping(Section):
    """Stop when `monitor` has not improved by more than `min_delta` for `patience` epochs.

    Attributes:
        patience: the number of epochs without an improvement.
        min_delta: what an improvement exceeds.
    """

    patience: Positive
    min_delta: Annotated[float, Field(ge=0)]


class Settings(Section):
    """Batches, regularization, which weights are kept, and how they are computed.

    Attributes:
        batch_size: images per step.
        balanced: draw as many images of each class; an epoch still has as many images as the train split.
        class_weights: `balanced` weighs the loss of an image by images / (classes x images of its class),
            counted in the train split; mixed labels count as their largest share.
        label_smoothing: the share of each label that is spread over all classes, in the val loss too.
        l2: this times the sum of squares of the kernels is added to the loss; kernels with a penalty of the
            network's own are left out.
        top5_accuracy: measure in each epoch, too, whether the label is among the five most probable classes;
            for many classes, where it can rise when the accuracy stalls (Practitioner Bundle ch. 4).
        monitor: what early stopping, a plateau, `keep: best` and `save_epochs: improving` look at.
        early_stopping: when to stop early; null: never.
        keep: `best` ends with the weights of the best epoch, `last` with those of the last. `snapshots` ends
            with the average of the networks at the ends of all cycles of a cosine schedule.
        save_epochs: keep checkpoints of epochs in models/NAME/checkpoints, to go on from (`start_from`):
            `improving` of each epoch with a better `monitor` than all before, a number of every so many
            epochs; null: none.
        checkpoint_every: write a checkpoint after so many epochs; null: not by epochs. A killed training
            resumes from its last checkpoint. SIGTERM and the end of a phase always write one.
        checkpoint_minutes: write one after so many minutes, within an epoch too; null: not by time.
        precision: bfloat16 and float16 compute in 16 bits and keep weights in 32.
        xla: whether Keras compiles with XLA.
        deterministic: use algorithms that give the same bits in each run on the same machine;
            stages/models/training/computing.py has the cost.
        seed: decides all that is random: weights, order, augmentation, dropout.
    """

    batch_size: Positive
    balanced: bool
    class_weights: Literal["none", "balanced"]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    l2: Annotated[float, Field(ge=0)]
    top5_accuracy: bool
    monitor: Literal["val_loss", "val_accuracy"]
    early_stopping: EarlyStopping | None
    keep: Literal["last", "best", "snapshots"]
    save_epochs: Literal["improving"] | Positive | None
    checkpoint_every: Positive | None
    checkpoint_minutes: Annotated[float, Field(gt=0)] | None
    precision: Literal["float32", "bfloat16", "float16"]
    xla: Literal["auto"] | bool
    deterministic: bool
    seed: Seed

    @model_validator(mode="after")
    def _check_classes_are_balanced_once(self) -> Self:
        if self.balanced and self.class_weights == "balanced":
            raise PydanticCustomError(
                "balanced", "balanced and class_weights even out the classes twice; choose one"
            )
        return self
