"""The base of every typed part of the params: frozen, strict, with errors that help to edit YAML."""

import difflib
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


# Where pydantic's own words do not help to edit YAML.
_MESSAGES = {
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "string_pattern_mismatch": "must match {pattern}",
    "too_long": "has {actual_length} entries; must have {max_length}",
    "too_short": "has {actual_length} entries; must have at least {min_length}",
    "union_tag_invalid": "{discriminator} is {tag!r}{hint}; allowed: {expected_tags}",
    "union_tag_not_found": "{discriminator} is missing",
}


class Section(BaseModel):
    """A part of the params. Unknown keys are refused, with the nearest key that exists."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        # extra="forbid" does the same, but its message does not name the keys that exist.
        fields = sorted(cls.model_fields)
        unknown = sorted(str(key) for key in values if key not in fields) if isinstance(values, dict) else []
        if unknown:
            raise PydanticCustomError(
                "unknown_key",
                "unknown key {unknown}; allowed: {allowed}",
                {
                    "unknown": ", ".join(f"{key}{hint(key, fields)}" for key in unknown),
                    "allowed": ", ".join(fields) or "none",
                },
            )
        return values


def hint(wrong: str, allowed: Iterable[str]) -> str:
    """Return ` (did you mean NEAREST?)`, or nothing where no allowed word is similar."""
    similar = difflib.get_close_matches(wrong, list(allowed), n=1)
    return f" (did you mean {similar[0]}?)" if similar else ""


def describe_error(error: ValidationError, values: Any) -> str:
    """Return one line for all that is wrong with `values`: every wrong key, its value and what is allowed."""
    return " | ".join(_describe(details, values) for details in error.errors())


def _describe(error: ErrorDetails, values: Any) -> str:
    """`models.lenet.train.epochs is -3; must be greater than 0`."""
    key = ".".join(_place(error, values))
    if error["type"] == "missing":
        return f"{key}.{error['loc'][-1]} is missing".removeprefix(".")
    template = _MESSAGES.get(error["type"])
    context = error.get("ctx", {})
    tags = str(context.get("expected_tags", "")).replace("'", "").split(", ")
    nearest = hint(str(context.get("tag", "")), tags)
    message = template.format(**context, hint=nearest) if template else error["msg"]
    message = message.replace("Input should", "must")
    # Whole sections are too long to show; the message says which of their keys is meant.
    section = isinstance(error["input"], dict | list | Section) or "[key]" in error["loc"]
    if section:
        return f"{key}: {message}" if key else message
    return f"{key or 'the file'} is {error['input']!r}; {message}"


def _place(error: ErrorDetails, values: Any) -> list[str]:
    """The keys that lead to the value, without pydantic's own names for the branches of a union."""
    place: list[str] = []
    for part in error["loc"]:
        is_key = (
            part in values
            if isinstance(values, dict)
            else isinstance(values, list) and isinstance(part, int) and part < len(values)
        )
        if is_key:
            values = values[part]
            place.append(str(part))
    return place
