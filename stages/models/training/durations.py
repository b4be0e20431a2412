"""Durations of trainings and of parts of them: epochs or steps."""

from typing import Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from stages.common.section import Positive, Section


class Duration(Section):
    """A duration in `epochs` or in `steps` (batches); the other is null.

    Attributes:
        epochs: passes over the train split; null: `steps` says it.
        steps: batches, whose number does not grow with the data; null: `epochs` says it.
    """

    epochs: Positive | None = None
    steps: Positive | None = None

    @model_validator(mode="after")
    def _check_one_unit(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise PydanticCustomError("duration", "must have either epochs or steps, and the other null")
        return self

    def in_steps(self, epoch: int) -> int:
        """The duration in steps, where an `epoch` has this many."""
        return self.steps if self.steps is not None else (self.epochs or 0) * epoch
