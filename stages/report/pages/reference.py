"""What a param means, from the typed classes alone: the one source of `make explain` and of the docs' tables.

A param's meaning is its field's description, its line under `Attributes:` in the class's docstring, or else
the class's summary. The place in the books is the first that the meaning, the class or its module names.
"""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

import yaml
from pydantic_core import PydanticUndefined

from stages.common.section import Section

_BOOK = re.compile(r"(?:Starter|Practitioner|ImageNet) Bundle,? ch\. \d+(?:(?:, | and )\d+)*")
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_OF_KIND = "a section with kind: "
_TYPES = {"array": "list", "object": "mapping", "string": "text"}


@dataclass(frozen=True)
class Param:
    """One field of a section.

    Attributes:
        meaning: In words; empty where no class says it.
        allowed: Type, range and choices.
        default: The value where the params leave the key out, as YAML; None where they must have it.
        place: Where the books speak of it; None where no class names a place.
    """

    meaning: str
    allowed: str
    default: str | None
    place: str | None


def describe(section: type[Section], name: str) -> Param:
    """Describe a field.

    Args:
        section: The class that has it.
        name: The field's name.
    """
    field = section.model_fields[name]
    schema = section.model_json_schema()
    required = field.default is PydanticUndefined and field.default_factory is None
    default = None if required else field.get_default(call_default_factory=True)
    meaning = " ".join(
        (field.description or attribute(section, name) or _summary_of_owner(section, name)).split()
    )
    return Param(
        meaning=meaning,
        allowed=_allowed(schema["properties"][name], schema.get("$defs", {})),
        default=None
        if required
        else as_yaml(default.model_dump() if isinstance(default, Section) else default),
        place=_place(section, name, meaning),
    )


def summary(section: type[Section]) -> str:
    """The first paragraph of a section's docstring, in one line."""
    return " ".join(inspect.cleandoc(section.__doc__ or "").partition("\n\n")[0].split())


def sections(annotation: Any) -> tuple[list[type[Section]], str]:
    """The sections that a field can hold.

    Returns:
        The classes, several where a `kind` chooses; and what stands before their keys: `.NAME` in a mapping,
        `.N` in a list, else nothing.
    """
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation], ""
    classes: list[type[Section]] = []
    step = {dict: ".NAME", list: ".N"}.get(get_origin(annotation), "")
    for argument in get_args(annotation):
        inside, deeper = sections(argument)
        classes += inside
        step = step or deeper
    return classes, step if classes else ""


def as_yaml(value: Any) -> str:
    """A value as it would be written in params.yaml, in one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def attribute(owner: type, name: str) -> str:
    """The line of a field under `Attributes:`, in the class or in one that it derives from; else nothing."""
    for parent in owner.__mro__:
        _, _, attributes = inspect.cleandoc(parent.__doc__ or "").partition("Attributes:\n")
        for title, text in _ATTRIBUTE.findall(attributes):
            if title == name:
                return str(text)
    return ""


def _summary_of_owner(section: type[Section], name: str) -> str:
    """The summary of the class that defines a field; small sections explain their fields there."""
    owners = (parent for parent in section.__mro__ if name in inspect.get_annotations(parent))
    return summary(next(owners, section))


def _place(section: type[Section], name: str, meaning: str) -> str | None:
    module = sys.modules[section.__module__].__doc__ or ""
    about = inspect.cleandoc(section.__doc__ or "").partition("Attributes:")[0]
    for text in (meaning, about, module):
        if places := _BOOK.findall(" ".join(text.split())):
            return "; ".join(dict.fromkeys(places))
    return None


def _allowed(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """Type, range and choices of a value, in words."""
    schema = _resolved(schema, defs)
    if choices := schema.get("anyOf", schema.get("oneOf")):
        texts = list(dict.fromkeys(_allowed(choice, defs) for choice in choices))
        kinds = [text.removeprefix(_OF_KIND) for text in texts if text.startswith(_OF_KIND)]
        others = [text for text in texts if not text.startswith(_OF_KIND)]
        return " or ".join(([_OF_KIND + ", ".join(kinds)] if kinds else []) + others)
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "properties" in schema:
        kind = _resolved(schema["properties"].get("kind", {}), defs).get("const")
        return _OF_KIND + str(kind) if kind else "a section"
    kind = schema.get("type", "any")
    words = [_TYPES.get(kind, kind), *_limits(schema)]
    if kind == "array" and "items" in schema:
        words.append(f"of {_allowed(schema['items'], defs)}")
    return " ".join(words)


def _limits(schema: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{sign} {schema[name]:.12g}" for name, sign in _BOUNDS.items() if name in schema)
    least, most = schema.get("minItems"), schema.get("maxItems")
    if least is not None and least == most:
        yield f"of length {least}"


def _resolved(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a reference names, with what is written beside the reference."""
    while "$ref" in schema:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**defs[schema["$ref"].rpartition("/")[2]], **beside}
    return schema
