"""The learning rate of a Keras optimizer, made from a schedule of the params."""

from typing import Any, TypeAlias

import keras
import numpy as np
from keras.optimizers import schedules as ks

from stages.common.errors import LearnerError
from stages.models.training.schedules import (
    ORDER,
    AnySchedule,
    Cosine,
    InverseTime,
    Plateau,
    Polynomial,
    Segment,
    Segments,
    Step,
)

Rate: TypeAlias = float | ks.LearningRateSchedule


@keras.saving.register_keras_serializable(package="convoy")
class Piecewise(ks.LearningRateSchedule):  # type: ignore[misc]
    """Another constant rate from given steps on.

    Keras' PiecewiseConstantDecay has nine nodes of the graph for each rate and computes all of them at every
    step: with 1,000 rates, 5.1 s to trace and 5.3 ms a step.
    """

    def __init__(self, starts: list[int], rates: list[float]) -> None:
        """Take what to return.

        Args:
            starts: the first step of each rate but the first one, counted from 0, ascending.
            rates: one more than `starts`.
        """
        self._starts = np.array(starts, np.int64)
        self._rates = np.array(rates, np.float32)

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step, a scalar float32."""
        begun = keras.ops.greater_equal(keras.ops.cast(step, "int64"), self._starts)
        return keras.ops.take(self._rates, keras.ops.sum(keras.ops.cast(begun, "int32")))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments; a copy of a compiled network is made from them."""
        return {"starts": self._starts.tolist(), "rates": self._rates.tolist()}


@keras.saving.register_keras_serializable(package="convoy")
class Cycles(ks.LearningRateSchedule):  # type: ignore[misc]
    """Half a cosine down, anew in each of several cycles of the same length.

    Keras' CosineDecayRestarts divides floats: where a cycle has 41, 47 or 55 steps, compiled code computes
    less than one at its end, so that the next cycle's first step has the lowest rate.
    """

    def __init__(self, rate: float, alpha: float, cycles: int, total: int) -> None:
        """Take what a cycle is.

        Args:
            rate: of the first step of each cycle.
            alpha: the share of it that a cycle ends with.
            cycles: how many there are.
            total: steps of all cycles.
        """
        self._rate, self._alpha, self._cycles, self._total = rate, alpha, cycles, total
        self._fall = ks.CosineDecay(rate, total, alpha=alpha)

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step, a scalar float32."""
        return self._fall(keras.ops.mod(keras.ops.cast(step, "int64") * self._cycles, self._total))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments; a copy of a compiled network is made from them."""
        return {"rate": self._rate, "alpha": self._alpha, "cycles": self._cycles, "total": self._total}


def build(schedule: AnySchedule, rate: float, epoch: int, total: int) -> Rate:
    """Make the learning rate of a Keras optimizer.

    Args:
        schedule: of any kind of schedules.py.
        rate: the learning rate that it starts from.
        epoch: steps per epoch.
        total: steps of the training.

    Returns:
        A number, or a schedule of Keras.

    Raises:
        LearnerError: a warm-up or segments do not fit into the training.
    """
    match schedule:
        case Step(factor=factor, every=every, first=first):
            starts = range((first or every).in_steps(epoch), total, every.in_steps(epoch))
            return _piecewise(list(starts), [rate * factor**drop for drop in range(len(starts) + 1)])
        case InverseTime(decay=decay):
            return ks.InverseTimeDecay(rate, decay_steps=1, decay_rate=decay)
        case Polynomial(power=power, end=end):
            return ks.PolynomialDecay(rate, decay_steps=total, end_learning_rate=end, power=power)
        case Cosine(warmup=warmup):
            return _cosine(schedule, rate, warmup.in_steps(epoch) if warmup else 0, total)
        case Segments(segments=segments):
            return _segments(segments, epoch, total)
        case _:
            return rate


def callbacks(schedule: AnySchedule, monitor: str, mode: str) -> list[keras.callbacks.Callback]:
    """The Keras callbacks that this schedule needs; they read each epoch's figures.

    Args:
        schedule: of any kind of schedules.py.
        monitor: the series that a plateau looks at.
        mode: whether its `min` or its `max` is the best.
    """
    if not isinstance(schedule, Plateau):
        return []
    return [
        keras.callbacks.ReduceLROnPlateau(
            monitor,
            mode=mode,
            factor=schedule.factor,
            patience=schedule.patience,
            # As for `keep: best`. Keras' default, 1e-4, is a large part of a small loss.
            min_delta=0.0,
            min_lr=schedule.end,
            cooldown=0,
        )
    ]


def _cosine(schedule: Cosine, rate: float, warmup: int, total: int) -> Rate:
    if warmup >= total:
        raise LearnerError(f"optimizer.schedule.warmup is {warmup} steps; the training has {total}")
    alpha = schedule.end / rate
    if warmup:
        return ks.CosineDecay(0.0, total - warmup, alpha=alpha, warmup_target=rate, warmup_steps=warmup)
    if schedule.cycles > 1:
        return Cycles(rate, alpha, schedule.cycles, total)
    return ks.CosineDecay(rate, decay_steps=total, alpha=alpha)


def _segments(segments: list[Segment], epoch: int, total: int) -> Rate:
    ends = [segment.end(epoch) for segment in segments]
    if ends != sorted(set(ends)):
        raise LearnerError(f"optimizer.schedule.{ORDER}")
    if ends[-1] < total:
        raise LearnerError(
            f"optimizer.schedule.segments end after {ends[-1]} steps; the training has {total}, "
            f"{epoch} an epoch"
        )
    return _piecewise(ends[:-1], [segment.learning_rate for segment in segments])


def _piecewise(starts: list[int], rates: list[float]) -> Rate:
    """`rates[i + 1]` from step `starts[i]` on, counted from 0."""
    return Piecewise(starts, rates) if starts else rates[0]
