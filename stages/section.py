"""The base of every typed part of the params: frozen, strict, and clear about unknown keys."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Section(BaseModel):
    """A part of the params. Unknown keys are refused with the list of known ones."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        # extra="forbid" would do, but its message does not say which keys there are.
        known = sorted(cls.model_fields)
        unknown = sorted(str(key) for key in values if key not in known) if isinstance(values, dict) else []
        if unknown:
            raise PydanticCustomError(
                "unknown_key",
                "unknown key {unknown}; allowed: {known}",
                {"unknown": ", ".join(unknown), "known": ", ".join(known) or "none"},
            )
        return values
