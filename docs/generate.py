"""Reference pages generated from the code, so that they cannot differ from it."""

import ast
import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipelines.config import Config
from stages.common.section import Section
from stages.params import Params
from stages.report.pages import reference

ROOT = Path(__file__).parents[1]
_HEAD = "| key | allowed | digits | meaning | book |\n|---|---|---|---|---|"


def write_params(path: Path, params: Path) -> None:
    """Write a table of every param: its type and range, its value in the default recipe, what it means.

    Args:
        path: The Markdown file to write.
        params: The default recipe's params.yaml.
    """
    values = yaml.safe_load(params.read_text(encoding="utf-8"))
    lines = [
        "# Params",
        "",
        "Every key of `params.yaml`, from the typed classes that check it. Other keys are refused.",
        "The column *digits* is the value in the default recipe. `NAME` is a name of a member or extractor.",
        "`make explain KEY=resize.size` shows one of them in a terminal.",
    ]
    shown: dict[tuple[type[Section], ...], str] = {}
    for name, field in Params.model_fields.items():
        classes, _ = reference.sections(field.annotation)
        intro = [reference.summary(classes[0]), ""] if len(classes) == 1 else []
        lines += ["", f"## {name}", "", *intro, _HEAD, *_rows(Params, "", name, values, shown)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_targets(makefile: Path, path: Path) -> None:
    """Write a table of every make target with its help text."""
    targets = re.findall(r"^([a-z0-9-]+):.*?## (.*)$", makefile.read_text(encoding="utf-8"), re.MULTILINE)
    rows = [f"| `make {name}` | {_cell(text)} |" for name, text in targets]
    path.parent.mkdir(exist_ok=True)
    head = ["# Make targets", "", "| command | what it does |", "|---|---|"]
    path.write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")


def write_settings(path: Path) -> None:
    """Write a table of the variables that Airflow's processes read: those of `pipelines.config.Config`."""
    rows = []
    for field in dataclasses.fields(Config):
        meaning = reference.attribute(Config, field.name)
        if field.default is dataclasses.MISSING:
            continue
        default = str(field.default).removeprefix(str(ROOT)).removeprefix("/")
        shown = f"`{default}`" if default else "the repository" if field.name == "repository" else "none"
        rows.append(f"| `CONVOY_{field.name.upper()}` | {_cell(meaning)} | {_cell(shown)} |")
    head = ["| variable | meaning | default |", "|---|---|---|"]
    path.write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")


def write_tools(folder: Path, path: Path) -> None:
    """Write a table of the commands beside the pipeline: what `python -m stages.tools.NAME` does."""
    rows = []
    for file in sorted(folder.glob("*.py")):
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        if not file.name.startswith("_") and text:
            first = " ".join(text.partition("\n\n")[0].split()).removeprefix(f"{file.stem}: ")
            rows.append(f"| `python -m stages.tools.{file.stem}` | {_cell(first[:1].upper() + first[1:])} |")
    head = ["# Tools", "", "Each has `--help`, and `--debug` for the traceback of an error.", ""]
    table = ["| command | what it does |", "|---|---|", *rows]
    path.write_text("\n".join([*head, *table]) + "\n", encoding="utf-8")


def _rows(
    section: type[Section], before: str, name: str, values: Any, shown: dict[tuple[type[Section], ...], str]
) -> Iterator[str]:
    """A row for a plain value; for a section the rows of its keys; for a choice those of every kind, once."""
    classes, step = reference.sections(section.model_fields[name].annotation)
    key = f"{before}{name}"
    value = values.get(name) if isinstance(values, Mapping) else None
    if not classes or classes == [Section]:
        param = reference.describe(section, name)
        default = "" if value is None else f"`{reference.as_yaml(value)}`"
        cells = (f"`{key}`", param.allowed, default, param.meaning, param.place or "")
        yield "| " + " | ".join(map(_cell, cells)) + " |"
        return
    if len(classes) > 1 and shown.setdefault(tuple(classes), key) != key:
        yield f"| `{key}` | as `{shown[tuple(classes)]}` | | | |"
        return
    inside = None if step else value
    for choice in classes:
        kind = _kind(choice)
        if len(classes) > 1:
            title = f"*{key}{step} with kind: {kind}*" if kind else f"*{key}{step}*"
            yield f"| {title} | | | {_cell(reference.summary(choice))} | |"
        chosen = inside if len(classes) == 1 or (inside or {}).get("kind") == kind else None
        for field in choice.model_fields:
            if not (kind and field == "kind"):
                yield from _rows(choice, f"{key}{step}.", field, chosen, shown)


def _kind(section: type[Section]) -> str | None:
    field = section.model_fields.get("kind")
    return None if field is None or field.annotation is str else reference.describe(section, "kind").allowed


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
