"""explain: say what a param means. `make explain KEY=models.lenet.train.epochs`."""

import sys
import textwrap
from pathlib import Path
from typing import Any

from stages import cli
from stages import params as typed
from stages.common.errors import ParamsError
from stages.common.nearest import nearest_key
from stages.common.section import Section
from stages.report.pages import reference
from stages.tools.running import composing, estimating

_WIDTH = 80


def explain(key: str, *, recipe: str | None = None) -> None:
    """Print what a param means, what is allowed, its value, and where the books speak of it.

    Args:
        key: A dotted key of params.yaml.
        recipe: The recipe that has the key; by default that of params.yaml.

    Raises:
        ParamsError: The params have no such key; the message names the nearest.
    """
    path = Path("params.yaml")
    if recipe:
        path = composing.NEXT
        composing.compose(Path("conf"), [f"recipe={recipe}"], path)
    sys.stdout.write("\n".join(describe(typed.load(path), key)) + "\n")


def describe(params: typed.Params, key: str) -> list[str]:
    """Describe a key in a few lines of up to 80 columns.

    Raises:
        ParamsError: The params have no such key.
    """
    owner, name, value = _walk(params, key)
    lines = [key]
    if isinstance(owner, Section):
        param = reference.describe(type(owner), name)
        facts = {
            "meaning": param.meaning,
            "allowed": param.allowed,
            "value": _shown(value),
            "default": param.default,
            "book": param.place,
        }
        lines += [line for title, text in facts.items() if text for line in _wrapped(title, text)]
    elif isinstance(value, Section):
        lines += _wrapped("meaning", reference.summary(type(value)))
    if isinstance(value, Section | dict) and value:
        keys = type(value).model_fields if isinstance(value, Section) else value
        lines += _wrapped("keys", ", ".join(keys))
        return lines
    return [*lines, *_wrapped("change", f'{_command(params.recipe)} SET="{key}=…"')]


def _command(recipe: str) -> str:
    """The command of a recipe's run: without one, `make run SET=` begins from the default recipe."""
    return "make run DATA=…" if recipe in estimating.RECIPES else f"make run RECIPE={recipe}"


def _walk(params: typed.Params, key: str) -> tuple[Any, str, Any]:
    """The section or mapping that has a key, the key's last part and its value."""
    owner: Any = None
    value: Any = params
    parts = key.split(".")
    for number, part in enumerate(parts):
        fields = type(value).model_fields if isinstance(value, Section) else value
        if not isinstance(fields, dict):
            raise ParamsError(f"{'.'.join(parts[:number])} is {_shown(value)} and has no keys below it")
        if part not in fields:
            raise ParamsError(_unknown(params, parts, number, list(fields)))
        owner, value = value, getattr(value, part) if isinstance(value, Section) else value[part]
    return owner, parts[-1], value


def _unknown(params: typed.Params, parts: list[str], number: int, fields: list[str]) -> str:
    nearest = nearest_key(".".join(parts), params.model_dump())
    guess = f" (did you mean {nearest}?)" if nearest else ""
    before = ".".join(parts[:number])
    place = f"{before} has" if before else "the top level has"
    return f"params have no {'.'.join(parts[: number + 1])}{guess}; {place} {', '.join(fields)}"


def _shown(value: Any) -> str:
    if isinstance(value, Section | dict):
        return ""
    if isinstance(value, list):
        return reference.as_yaml([item.model_dump() if isinstance(item, Section) else item for item in value])
    return reference.as_yaml(str(value) if isinstance(value, Path) else value)


def _wrapped(title: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"  {title:<9}", subsequent_indent=" " * 11)


if __name__ == "__main__":
    cli.main(explain)
