"""Optimizers and learning-rate schedules by name."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.section import Section

if TYPE_CHECKING:
    import keras

Rate = Annotated[float, Field(gt=0)]
Schedule = Literal["constant", "cosine"]


class Sgd(Section):
    """Stochastic gradient descent; momentum 0 is none. Starter Bundle ch. 9."""

    kind: Literal["sgd"]
    learning_rate: Rate
    schedule: Schedule
    momentum: Annotated[float, Field(ge=0, lt=1)]
    nesterov: bool


class Adam(Section):
    """Adam with Keras' other defaults. Practitioner Bundle ch. 7."""

    kind: Literal["adam"]
    learning_rate: Rate
    schedule: Schedule


Optimizer = Annotated[Sgd | Adam, Field(discriminator="kind")]


def build(params: Sgd | Adam, steps: int) -> "keras.optimizers.Optimizer":
    """A Keras optimizer; the `cosine` schedule falls to zero over `steps` batches."""
    import keras

    rate: float | keras.optimizers.schedules.LearningRateSchedule = params.learning_rate
    if params.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(params.learning_rate, decay_steps=steps)
    if isinstance(params, Adam):
        return keras.optimizers.Adam(rate)
    return keras.optimizers.SGD(rate, momentum=params.momentum, nesterov=params.nesterov)
