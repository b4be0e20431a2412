"""Learning rates, step by step, as the books print them."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from stages.common.errors import LearnerError
from stages.models.training import rates as keras_rates
from stages.models.training import schedules

adapter: TypeAdapter[schedules.AnySchedule] = TypeAdapter(schedules.Schedule)


def rates(schedule: Any, rate: float, *, epoch: int, epochs: int) -> list[float]:
    """The learning rate of every step of a training."""
    schedule_of_rates = keras_rates.build(adapter.validate_python(schedule), rate, epoch, epoch * epochs)
    if isinstance(schedule_of_rates, float):
        return [schedule_of_rates] * (epoch * epochs)
    return [float(keras.ops.convert_to_numpy(schedule_of_rates(step))) for step in range(epoch * epochs)]


def test_a_name_alone_takes_the_schedules_defaults() -> None:
    assert adapter.validate_python("cosine") == adapter.validate_python({"kind": "cosine"})
    assert rates("constant", 0.1, epoch=3, epochs=2) == [0.1] * 6


def test_step_decay_is_the_starter_bundles() -> None:
    """Chapter 16, factor 0.25 every 5 epochs: the first drop after four."""
    book = {"kind": "step", "factor": 0.25, "every": {"epochs": 5}, "first": {"epochs": 4}}
    actual = rates(book, 0.01, epoch=2, epochs=40)[::2]
    assert actual[:10] == pytest.approx([0.01] * 4 + [0.0025] * 5 + [6.25e-4])
    assert actual[39] == pytest.approx(1.526e-7, rel=1e-3)


def test_steps_and_epochs_are_the_same_thing_in_two_units() -> None:
    by_epochs = rates({"kind": "step", "factor": 0.5, "every": {"epochs": 2}}, 1.0, epoch=3, epochs=4)
    by_steps = rates({"kind": "step", "factor": 0.5, "every": {"steps": 6}}, 1.0, epoch=3, epochs=4)
    assert by_epochs == by_steps == [1.0] * 6 + [0.5] * 6


def test_inverse_time_is_what_the_books_keras_did_per_batch() -> None:
    """0.008365 after one epoch of 782 steps with decay 0.01 / 40."""
    actual = rates({"kind": "inverse_time", "decay": 0.01 / 40}, 0.01, epoch=782, epochs=2)
    assert actual[0] == pytest.approx(0.01)
    assert actual[782] == pytest.approx(0.008365, rel=1e-4)


def test_a_polynomial_is_linear_unless_it_has_a_power() -> None:
    assert rates("polynomial", 1.0, epoch=2, epochs=2) == pytest.approx([1.0, 0.75, 0.5, 0.25])
    squared = {"kind": "polynomial", "power": 2.0, "end": 0.2}
    assert rates(squared, 1.0, epoch=2, epochs=1) == pytest.approx([1.0, 0.2 + 0.8 * 0.25])


def test_a_cosine_rises_in_its_warm_up_and_ends_at_its_end() -> None:
    actual = rates({"kind": "cosine", "warmup": {"epochs": 1}, "end": 0.1}, 1.0, epoch=4, epochs=5)
    assert actual[:5] == pytest.approx([0, 0.25, 0.5, 0.75, 1.0])
    assert actual[12] == pytest.approx(0.55)
    assert actual[4:] == sorted(actual[4:], reverse=True)
    assert actual[-1] == pytest.approx(0.1, abs=0.01)


def test_a_cosine_of_several_cycles_starts_anew_in_each() -> None:
    actual = rates({"kind": "cosine", "cycles": 2}, 1.0, epoch=4, epochs=4)
    assert actual[:8] == pytest.approx(actual[8:], abs=1e-6)
    assert actual[:8] == pytest.approx(rates("cosine", 1.0, epoch=4, epochs=2), abs=1e-6)
    with pytest.raises(ValidationError, match="warmup and several cycles exclude each other"):
        adapter.validate_python({"kind": "cosine", "cycles": 2, "warmup": {"epochs": 1}})


@pytest.mark.parametrize("cycle", [41, 47, 55])
def test_every_cycle_starts_with_the_whole_rate_in_compiled_code(cycle: int) -> None:
    """Keras' restarts came one step late: the first step of a cycle had the lowest rate."""
    schedule: Any = keras_rates.build(
        adapter.validate_python({"kind": "cosine", "cycles": 3}), 0.1, cycle, 3 * cycle
    )
    compiled = compiled_schedule(schedule)
    assert [compiled(start) for start in (0, cycle, 2 * cycle)] == pytest.approx([0.1] * 3)
    assert compiled(2 * cycle - 1) < 0.001


@pytest.mark.parametrize(
    "schedule",
    [{"kind": "cosine", "cycles": 2, "end": 0.01}, {"kind": "step", "factor": 0.5, "every": {"steps": 2}}],
)
def test_a_schedule_is_copied_with_its_network(schedule: Any) -> None:
    optimizer = keras.optimizers.SGD(keras_rates.build(adapter.validate_python(schedule), 0.1, 4, 8))
    copy = keras.optimizers.SGD.from_config(optimizer.get_config())
    for step in range(8):
        optimizer.iterations.assign(step)
        copy.iterations.assign(step)
        assert float(optimizer.learning_rate) == pytest.approx(float(copy.learning_rate))


def compiled_schedule(schedule: Any) -> Callable[[int], float]:
    if keras.backend.backend() == "jax":
        import jax

        function = jax.jit(schedule)
    else:
        import tensorflow

        function = tensorflow.function(schedule, jit_compile=True)
    return lambda step: float(keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(step))))


def test_a_schedule_of_many_drops() -> None:
    """999 drops took 5.1 s to trace and 5.3 ms a step."""
    actual = rates({"kind": "step", "factor": 0.999, "every": {"steps": 1}}, 1.0, epoch=1000, epochs=1)
    assert actual == pytest.approx(0.999 ** np.arange(1000), rel=1e-5)


def test_segments_change_the_rate_at_their_ends() -> None:
    parts = [{"until_epoch": 2, "learning_rate": 0.1}, {"until_step": 5, "learning_rate": 0.01}]
    assert rates({"kind": "segments", "segments": parts}, 0.1, epoch=2, epochs=2) == pytest.approx([0.1] * 4)
    parts.append({"until_epoch": 4, "learning_rate": 0.001})
    actual = rates({"kind": "segments", "segments": parts}, 0.1, epoch=2, epochs=4)
    assert actual == pytest.approx([0.1] * 4 + [0.01] + [0.001] * 3)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"kind": "cosine", "warmup": {"epochs": 4}}, "warmup is 8 steps; the training has 8"),
        (
            {"kind": "segments", "segments": [{"until_epoch": 3, "learning_rate": 1.0}]},
            "segments end after 6 steps; the training has 8, 2 an epoch",
        ),
        (
            {
                "kind": "segments",
                "segments": [
                    {"until_epoch": 3, "learning_rate": 1.0},
                    {"until_step": 5, "learning_rate": 0.1},
                ],
            },
            "must end one after the other",
        ),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused(schedule: Any, message: str) -> None:
    with pytest.raises(LearnerError, match=message):
        rates(schedule, 1.0, epoch=2, epochs=4)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("exponential", "constant.*segments"),
        ({"kind": "step", "factor": 0.5, "every": {}}, "either epochs or steps"),
        ({"kind": "step", "factor": 0.5, "every": {"epochs": 1, "steps": 2}}, "either epochs or steps"),
        ({"kind": "segments", "segments": [{"learning_rate": 1.0}]}, "either until_epoch or until_step"),
    ],
)
def test_params_that_are_no_schedule_are_refused(schedule: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        adapter.validate_python(schedule)
