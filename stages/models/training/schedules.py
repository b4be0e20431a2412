"""Learning-rate schedules: how the optimizer's learning rate changes, step by step.

A schedule is a function of the optimizer's own count of steps, so it resumes with the training. The
name alone takes a schedule's defaults: `schedule: cosine` is `schedule: {kind: cosine}`. rates.py makes
Keras' objects of them.
"""

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from stages.common.section import Fraction, Positive, Section
from stages.models.training.durations import Duration

Rate = Annotated[float, Field(gt=0)]
ORDER = "segments must end one after the other"


class Constant(Section):
    """The learning rate as it is."""

    kind: Literal["constant"]


class Step(Section):
    """Times `factor` after each `every`; the first drop comes after `first`, or else after `every`.

    The Starter Bundle's formula (ch. 16) counts one epoch more than have passed: its "every 5" is
    `{every: {epochs: 5}, first: {epochs: 4}}`.

    Attributes:
        factor: what each drop multiplies the rate by.
        every: the time between two drops.
        first: the time until the first drop; null: as `every`.
    """

    kind: Literal["step"]
    factor: Fraction
    every: Duration
    first: Duration | None = None


class InverseTime(Section):
    """Divided by 1 + `decay` x steps. Starter Bundle ch. 15 and 16, where decay is learning rate / epochs.

    Attributes:
        decay: what each step adds to the divisor.
    """

    kind: Literal["inverse_time"]
    decay: Rate


class Polynomial(Section):
    """Down to `end` after the last step, as (1 - share done)^power; power 1 is linear.

    Practitioner Bundle ch. 11 and 12, which lower the rate once an epoch; here it falls with every step.

    Attributes:
        power: of the share that is left; 1 is linear.
        end: the rate after the last step.
    """

    kind: Literal["polynomial"]
    power: Rate = 1.0
    end: Annotated[float, Field(ge=0)] = 0.0


class Cosine(Section):
    """Half a cosine down to `end` after the last step, after a linear rise from 0 during `warmup`.

    With several `cycles` the rate starts anew in each, as in Loshchilov and Hutter, SGDR (2017); warm-up as
    in Goyal et al. (2017).

    Attributes:
        warmup: how long the rate rises in a line from 0; null: not at all.
        end: the rate after the last step of each cycle.
        cycles: how many times the rate falls.
    """

    kind: Literal["cosine"]
    warmup: Duration | None = None
    end: Annotated[float, Field(ge=0)] = 0.0
    cycles: Positive = 1

    @model_validator(mode="after")
    def _check_cycles_have_no_warmup(self) -> Self:
        if self.warmup and self.cycles > 1:
            raise PydanticCustomError("cosine", "warmup and several cycles exclude each other")
        return self


class Plateau(Section):
    """Times `factor` when `train.monitor` has not improved for `patience` epochs, down to `end`.

    The recipe of AlexNet, VGG and ResNet: divided by ten on a plateau.

    Attributes:
        factor: what each drop multiplies the rate by.
        patience: the number of epochs without an improvement before a drop.
        end: the lowest rate.
    """

    kind: Literal["plateau"]
    factor: Fraction = 0.1
    patience: Positive = 10
    end: Annotated[float, Field(ge=0)] = 0.0


class Segment(Section):
    """A learning rate, and the epoch or the step, counted from 1, whose end is the end of it.

    Attributes:
        learning_rate: of this stretch.
        until_epoch: its last epoch; null: `until_step` says the end.
        until_step: its last step; null: `until_epoch` says the end.
    """

    learning_rate: Rate
    until_epoch: Positive | None = None
    until_step: Positive | None = None

    @model_validator(mode="after")
    def _check_one_end(self) -> Self:
        if (self.until_epoch is None) == (self.until_step is None):
            raise PydanticCustomError("segment", "must have either until_epoch or until_step")
        return self

    def end(self, epoch: int) -> int:
        """The number of steps until its end, where an `epoch` has this many."""
        return self.until_step if self.until_step is not None else (self.until_epoch or 0) * epoch


class Segments(Section):
    """A rate for each stretch of the training, the first being the optimizer's own.

    The books' "ctrl+c" training (Practitioner Bundle ch. 11): stop by hand, lower the rate, resume from the
    checkpoint. Segments make it repeatable.

    Attributes:
        segments: the stretches in their order; the last one ends no earlier than the training.
    """

    kind: Literal["segments"]
    segments: Annotated[list[Segment], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        # An epoch and a step cannot be compared before the batches are counted; `rates.build` does it then.
        for unit in ("until_epoch", "until_step"):
            ends = [end for segment in self.segments if (end := getattr(segment, unit)) is not None]
            if ends != sorted(set(ends)):
                raise PydanticCustomError("segments", ORDER)
        return self


def _named(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


AnySchedule: TypeAlias = Constant | Step | InverseTime | Polynomial | Cosine | Plateau | Segments
Schedule = Annotated[AnySchedule, Field(discriminator="kind"), BeforeValidator(_named)]


def check_fits(schedule: AnySchedule, training: Duration, optimizer: str, phase: str) -> None:
    """Refuse a schedule that cannot fit into the training, where both are in epochs or both in steps.

    `rates.build` compares epochs with steps, too; it knows how many an epoch has, but runs after all other
    stages.

    Args:
        schedule: of any kind here.
        training: how long the training, or a phase of it, takes.
        optimizer: the key of the section with the schedule.
        phase: the key of the section that says how long.

    Raises:
        PydanticCustomError: the warm-up takes all of the training, or the last segment ends before it.
    """
    unit = "epoch" if training.epochs else "step"
    total = getattr(training, f"{unit}s")
    match schedule:
        case Cosine(warmup=Duration() as warmup):
            key, bound = f"warmup.{unit}s", "less than"
            end = getattr(warmup, f"{unit}s")
            fits = end is None or end < total
        case Segments(segments=[*others, last]):
            key, bound = f"segments.{len(others)}.until_{unit}", "at least"
            end = getattr(last, f"until_{unit}")
            fits = end is None or end >= total
        case _:
            return
    if not fits:
        raise PydanticCustomError(
            "schedule",
            "{optimizer}.schedule.{key} is {end}; must be {bound} {phase}.{unit}s, {total}",
            {
                "optimizer": optimizer,
                "key": key,
                "end": end,
                "bound": bound,
                "phase": phase,
                "unit": unit,
                "total": total,
            },
        )


def cycles(schedule: AnySchedule) -> int:
    """The number of times that the rate falls from its start to its end."""
    return schedule.cycles if isinstance(schedule, Cosine) else 1
