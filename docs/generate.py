"""Reference pages generated from the code, so that they cannot differ from it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from stages.params import Params

_HEAD = "| key | allowed | digits | meaning |\n|---|---|---|---|"


def write_params(path: Path, params: Path) -> None:
    """Write a table of every param: its type and range, its value in the default recipe, what it means.

    Args:
        path: The Markdown file to write.
        params: The default recipe's params.yaml.
    """
    schema = Params.model_json_schema()
    values = yaml.safe_load(params.read_text(encoding="utf-8"))
    lines = [
        "# Params",
        "",
        "Every key of `params.yaml`, from the typed classes that check it. Other keys are refused.",
        "The column *digits* is the value in the default recipe. `NAME` is a name of a member or extractor.",
    ]
    for name, section in schema["properties"].items():
        rows = list(_rows(name, section, schema["$defs"], values.get(name)))
        lines += ["", f"## {name}", "", *_intro(section, schema["$defs"]), _HEAD, *rows]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_targets(makefile: Path, path: Path) -> None:
    """Write a table of every make target with its help text."""
    targets = re.findall(r"^([a-z0-9-]+):.*?## (.*)$", makefile.read_text(encoding="utf-8"), re.MULTILINE)
    rows = [f"| `make {name}` | {_cell(text)} |" for name, text in targets]
    path.parent.mkdir(exist_ok=True)
    head = ["# Make targets", "", "| command | what it does |", "|---|---|"]
    path.write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")


def _rows(key: str, schema: Any, defs: Mapping[str, Any], value: Any) -> Iterator[str]:
    """A row for a plain value; for a section the rows of its keys; for a choice those of every kind."""
    schema = _resolved(schema, defs)
    kinds = [_resolved(kind, defs) for kind in schema.get("oneOf", schema.get("anyOf", []))]
    if "properties" in schema:
        for name, part in schema["properties"].items():
            yield from _rows(
                f"{key}.{name}", part, defs, value.get(name) if isinstance(value, dict) else None
            )
    elif isinstance(schema.get("additionalProperties"), dict):
        yield from _rows(f"{key}.NAME", schema["additionalProperties"], defs, None)
    elif any("properties" in kind for kind in kinds):
        for kind in kinds:
            if "properties" in kind:
                yield from _kind_rows(key, kind, defs, value)
    else:
        default = "" if value is None else f"`{_yaml(value)}`"
        meaning = _cell(schema.get("description", ""))
        yield f"| `{key}` | {_cell(_allowed(schema, defs))} | {default} | {meaning} |"


def _kind_rows(key: str, kind: Mapping[str, Any], defs: Mapping[str, Any], value: Any) -> Iterator[str]:
    name = kind["properties"].get("kind", {}).get("const")
    chosen = isinstance(value, dict) and value.get("kind") == name
    title = f"*{key} with kind: {name}*" if name else f"*{key}*"
    yield f"| {title} | | | {_cell(_summary(kind.get('description', '')))} |"
    for part, schema in kind["properties"].items():
        if part != "kind":
            yield from _rows(f"{key}.{part}", schema, defs, value.get(part) if chosen else None)


def _intro(schema: Any, defs: Mapping[str, Any]) -> list[str]:
    text = _resolved(schema, defs).get("description")
    return [text, ""] if text else []


def _resolved(schema: Any, defs: Mapping[str, Any]) -> Any:
    """The schema that a reference stands for."""
    while "$ref" in schema:
        schema = {
            **defs[schema["$ref"].rpartition("/")[2]],
            **{k: v for k, v in schema.items() if k != "$ref"},
        }
    return schema


def _allowed(schema: Any, defs: Mapping[str, Any]) -> str:
    """Type, range and choices of a value, in words."""
    if choices := schema.get("anyOf", schema.get("oneOf")):
        return " or ".join(_allowed(_resolved(choice, defs), defs) for choice in choices)
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = {"array": "list", "object": "mapping", "null": "null"}.get(
        schema.get("type"), schema.get("type", "any")
    )
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return " ".join([kind, *(f"{sign} {schema[name]:g}" for name, sign in bounds.items() if name in schema)])


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n").removesuffix("\n...")


def _summary(text: str) -> str:
    return text.partition("\n\n")[0]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
