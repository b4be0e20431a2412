"""How long something lasts: epochs or steps."""

from typing import Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from stages.common.section import Positive, Section


class Duration(Section):
    """`epochs` or `steps` (batches), one of the two. Steps keep their meaning when the data grow."""

    epochs: Positive | None = None
    steps: Positive | None = None

    @model_validator(mode="after")
    def _be_one_of_the_two(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise PydanticCustomError("duration", "must have either epochs or steps, and the other null")
        return self

    def in_steps(self, epoch: int) -> int:
        """The number of steps, where an `epoch` has this many."""
        return self.steps if self.steps is not None else (self.epochs or 0) * epoch
