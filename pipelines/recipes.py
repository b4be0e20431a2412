"""The recipes of conf/, read with a YAML parser alone, for the trigger form."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def names(conf: Path) -> list[str]:
    """List the recipes' names."""
    return sorted(path.stem for path in (conf / "recipe").glob("*.yaml"))


def default(conf: Path) -> str:
    """Return the recipe in the defaults of conf/config.yaml."""
    return next(str(entry["recipe"]) for entry in _defaults(conf / "config.yaml") if "recipe" in entry)


def labels(conf: Path, data: Path) -> dict[str, str]:
    """Say of each recipe whether its images are here.

    Args:
        conf: The folder conf/.
        data: The folder that tasks see as datasets/.

    Returns:
        Recipe → its name, followed by the path of a source that does not exist. A recipe that downloads its
        images has its plain name; so has every recipe where this process cannot see `data`.
    """
    return {name: f"{name}{_remark(conf, name, data)}" for name in names(conf)}


def _remark(conf: Path, name: str, data: Path) -> str:
    try:
        path = _missing_source(conf, name, data)
    except (yaml.YAMLError, OSError, ValueError, TypeError, AttributeError, RecursionError):
        # A person may be writing it. An error here would leave Airflow without any DAG.
        return " (cannot be read)"
    return f" (no images at {path})" if path else ""


def _missing_source(conf: Path, name: str, data: Path) -> str | None:
    source = _source(conf, name)
    path = str(source.get("path", ""))
    if not path.startswith("datasets/") or "${" in path or source.get("kind") == "url" or not data.is_dir():
        return None
    return None if (data / path.removeprefix("datasets/")).exists() else path


def _source(conf: Path, name: str) -> dict[str, Any]:
    """The recipe's `ingest.source`: its own, else its data set's, else that of the recipe it builds on."""
    path = conf / "recipe" / f"{name}.yaml"
    source = dict(_read(path).get("ingest", {}).get("source", {}))
    for entry in reversed(_defaults(path)):
        for group, choice in entry.items():
            if group.endswith("/dataset"):
                dataset = _read(conf / "dataset" / f"{choice}.yaml")
                source = {**dataset.get("ingest", {}).get("source", {}), **source}
    for base in _bases(path):
        source = {**_source(conf, base), **source}
    return source


def _bases(path: Path) -> list[str]:
    """The recipes that a recipe's defaults name: `- other`, as Hydra reads it."""
    entries = _read(path).get("defaults", [])
    return [entry for entry in entries if isinstance(entry, str) and entry != "_self_" and "/" not in entry]


def _defaults(path: Path) -> list[dict[str, Any]]:
    return [entry for entry in _read(path).get("defaults", []) if isinstance(entry, dict)]


@cache
def _read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.load(path.read_bytes(), Loader=_LOADER) or {}  # noqa: S506
    return values
