"""new_recipe: write a recipe of one's own. `make new RECIPE=flowers FROM=images DATA=/path/to/images`."""

import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages import cli
from stages import params as typed
from stages.common.errors import ParamsError, SourceError
from stages.common.section import Section
from stages.data import layout
from stages.data.layout import Count
from stages.params import Params
from stages.report.pages import reference
from stages.tools.running import checking, choosing, composing

_CONF, _DATASETS = Path("conf"), Path("datasets")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# To YAML or Hydra no names but values.
_TAKEN = {"false", "inf", "nan", "no", "null", "off", "on", "true", "yes"}
_CHANGED_OFTEN = {
    "ingest": {"val_fraction", "test_fraction", "near_duplicates"},
    "resize": {"size", "keep_aspect", "color"},
    "ensemble": {"weights"},
    "promote": {"min_images", "min_accuracy"},
}
_OF_MEMBERS = {"c", "epochs", "batch_size", "learning_rate", "mirror", "cell"}
_COLUMN, _WIDTH = 44, 110


def new_recipe(name: str, *, base: str | None = None, data: Path | None = None) -> None:
    """Write conf/recipe/NAME.yaml: another recipe with images of one's own, and comments on what to change.

    Args:
        name: The new recipe.
        base: The recipe that it builds on; by default that which `make run DATA=` chooses.
        data: The images; by default those of the base.

    Raises:
        ParamsError: A recipe has the name already, the name is not allowed, or there is no such base.
        SourceError: The images cannot be used as they are.
    """
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise ParamsError(
            "a recipe's name begins with a lower-case letter; such letters, digits and _ follow, as in "
            f"flowers_2; {', '.join(sorted(_TAKEN))} are values; it is {name!r}"
        )
    path = _CONF / "recipe" / f"{name}.yaml"
    if path.exists():
        raise ParamsError(f"{path} exists and is not overwritten; choose another name, or edit it")
    if base is not None:
        # Where no weights are here, it asks a server for them.
        choice = choosing.choose(_DATASETS) if data is not None else None
    else:
        choice = choosing.choose(_DATASETS)
        base = choice.recipe
        sys.stdout.write(f"{base}: {choice.description}\n")
    composing.compose(_CONF, [f"recipe={base}"], composing.NEXT)
    own, files = _source(data, base, choice) if data is not None else ({}, None)
    lines = [*_head(name, base), *_sections(typed.load(composing.NEXT), own)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        composing.compose(_CONF, [f"recipe={name}"], composing.NEXT)
        checked = typed.load(composing.NEXT)
        if files is not None:
            checking.check_folds(checked, files)
    except (ParamsError, SourceError) as error:
        path.unlink()
        raise type(error)(f"{base} with these images: {error}") from None
    sys.stdout.write(f"{path}\nNext: make run RECIPE={name}\n")


def _head(name: str, base: str) -> list[str]:
    return [
        "# @package _global_",
        "#",
        f"# Builds on the recipe {base}; write here what this one is for.",
        "# Claims:  none yet; write what it has to reach, such as test accuracy >= 0.9",
        f"# Command: make run RECIPE={name}",
        "defaults:",
        f"  - {base}",
        "  - _self_",
        "",
        f"recipe: {name}",
        "",
        '# All other values are the base\'s. Those in comments are often changed: remove the "# " of the key',
        "# and of the keys above it. make explain KEY=resize.size says more; params.yaml has every key.",
        "",
    ]


def _source(data: Path, base: str, choice: choosing.Choice | None) -> tuple[dict[str, list[str]], Count]:
    """Lines for the images and for the extractor whose weights are here, by dotted key; and the files."""
    recognized = layout.recognize(Path.cwd() / data.expanduser())
    source = recognized.params()
    checking.check_source(source)
    files = layout.count(source)
    checking.check_classes(source, files)
    images = sum(files.by_class.values())
    path, repository = recognized.path, Path.cwd()
    # A clone, a container and a pod have this repository in another place.
    path = path.relative_to(repository) if path.is_relative_to(repository) else path
    values = {"kind": recognized.kind, "path": str(path), **recognized.settings}
    ingest = [
        f"  # {recognized.description}: {images:,} files in {len(files.by_class)} classes",
        "  source:",
        *(f"    {key}: {reference.as_yaml(value)}" for key, value in values.items()),
        f"  split: {recognized.split}",
    ]
    backbone = choice.backbone if choice and choice.recipe == base else {}
    weights = [f"    {key}: {reference.as_yaml(value)}" for key, value in backbone.items()]
    return {"ingest": ingest, "extractors.mobilenet_v2": weights}, files


def _sections(params: Params, own: Mapping[str, list[str]]) -> list[str]:
    """The recipe's own lines and, below those of the same section, the base's values as comments."""
    lines = []
    for section, names in _CHANGED_OFTEN.items():
        changed = _commented(getattr(params, section), names, 1)
        lines += _headed(f"{section}:", [*own.get(section, []), *changed])
    for section in ("extractors", "models"):
        entries: dict[str, Section] = getattr(params, section)
        inside = []
        for name, entry in entries.items():
            changed = _commented(entry, _OF_MEMBERS, 2)
            inside += _headed(f"  {name}:", [*own.get(f"{section}.{name}", []), *changed])
        lines += _headed(f"{section}:", inside)
    return lines


def _headed(head: str, lines: list[str]) -> list[str]:
    """Lines below their head, which is a comment where all of them are."""
    mark = "# " if all(line.startswith("# ") for line in lines) else ""
    return [mark + head, *lines] if lines else []


def _commented(section: Section, names: set[str], depth: int) -> Iterator[str]:
    """A commented line for each of the names in a section and in the sections below it."""
    indent = "  " * depth
    for name in type(section).model_fields:
        value: Any = getattr(section, name)
        if isinstance(value, Section):
            inside = type(value).model_fields if name in names else names
            yield from _headed(f"{indent}{name}:", list(_commented(value, set(inside), depth + 1)))
        elif name in names and value is not None:
            line = f"# {indent}{name}: {reference.as_yaml(value)}"
            meaning = reference.describe(type(section), name).meaning.partition(". ")[0].rstrip(".")
            start = f"{line:<{_COLUMN}} # "
            yield start + textwrap.shorten(meaning, max(20, _WIDTH - len(start)), placeholder=" …")


if __name__ == "__main__":
    cli.main(new_recipe)
