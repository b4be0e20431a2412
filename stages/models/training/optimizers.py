"""Optimizers by name; their keys are Keras' own arguments, so that Keras' documentation explains them."""

from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from stages.common.section import Section
from stages.models.training.schedules import Rate, Schedule, Segments

if TYPE_CHECKING:
    import keras

Decay = Annotated[float, Field(ge=0, lt=1)]


class Common(Section):
    """The params of every optimizer.

    Attributes:
        learning_rate: of the first step, or where the schedule starts from.
        schedule: how the rate changes; see schedules.py.
        global_clipnorm: gradients are scaled down to this norm over all weights; null: never.
        ema_momentum: validate and save the exponential moving average of the weights (Polyak averaging), with
            this share of the old average at every step; null: the weights themselves.
    """

    learning_rate: Rate
    schedule: Schedule
    global_clipnorm: Rate | None
    ema_momentum: Annotated[float, Field(gt=0, lt=1)] | None

    @model_validator(mode="after")
    def _check_first_rate(self) -> Self:
        schedule = self.schedule
        if isinstance(schedule, Segments) and schedule.segments[0].learning_rate != self.learning_rate:
            raise PydanticCustomError(
                "segments",
                "learning_rate is {rate}; must be that of the first segment, {first}",
                {"rate": self.learning_rate, "first": schedule.segments[0].learning_rate},
            )
        return self


class Sgd(Common):
    """Stochastic gradient descent. Starter Bundle ch. 9.

    Attributes:
        momentum: the share of the last move that the next one keeps; 0: none.
        nesterov: whether the momentum is Nesterov's, whose gradient is that of the place it leads to.
    """

    kind: Literal["sgd"]
    momentum: Decay
    nesterov: bool


class Adam(Common):
    """Adam (Kingma and Ba, 2015). Practitioner Bundle ch. 7, as the next ones."""

    kind: Literal["adam"]


class AdamW(Common):
    """Adam with `weight_decay` apart from the gradient (Loshchilov and Hutter, 2019).

    Attributes:
        weight_decay: this times the rate is the share of the weights that each step takes off.
    """

    kind: Literal["adamw"]
    weight_decay: Rate


class Nadam(Common):
    """Adam with Nesterov's momentum (Dozat, 2016)."""

    kind: Literal["nadam"]


class RmsProp(Common):
    """Steps divided by a moving average of gradients' size.

    Attributes:
        rho: the share of the old average that is kept.
        momentum: the share of the last move that the next one keeps; 0: none.
    """

    kind: Literal["rmsprop"]
    rho: Decay
    momentum: Decay


class Adagrad(Common):
    """Steps divided by the sum of all gradients' squares so far (Duchi et al., 2011)."""

    kind: Literal["adagrad"]


class Adadelta(Common):
    """Adagrad with a window instead of a sum (Zeiler, 2012).

    Attributes:
        rho: the share of the old average that is kept.
    """

    kind: Literal["adadelta"]
    rho: Decay


AnyOptimizer: TypeAlias = Sgd | Adam | AdamW | Nadam | RmsProp | Adagrad | Adadelta
Optimizer = Annotated[AnyOptimizer, Field(discriminator="kind")]


def build(params: AnyOptimizer, epoch: int, total: int) -> "keras.optimizers.Optimizer":
    """Make a Keras optimizer.

    Args:
        params: of any kind here.
        epoch: steps per epoch.
        total: steps of the training.

    Raises:
        LearnerError: the schedule does not fit, as `rates.build`.
    """
    import keras

    from stages.models.training import rates

    classes = {
        "sgd": keras.optimizers.SGD,
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "nadam": keras.optimizers.Nadam,
        "rmsprop": keras.optimizers.RMSprop,
        "adagrad": keras.optimizers.Adagrad,
        "adadelta": keras.optimizers.Adadelta,
    }
    own = params.model_dump(exclude={"kind", "learning_rate", "schedule", "ema_momentum"})
    averaging = {"use_ema": True, "ema_momentum": params.ema_momentum} if params.ema_momentum else {}
    rate = rates.build(params.schedule, params.learning_rate, epoch, total)
    return classes[params.kind](rate, **own, **averaging)
