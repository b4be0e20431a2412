"""The commands that repeat a run."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from stages.common import git


def reproduce(recipe: str, composed: Path, conf: Path) -> list[str]:
    """List the commands that repeat a run: the code, then the recipe with every value that differs from it.

    Args:
        recipe: the recipe's name. Without such a recipe in `conf`, the command runs the params file as it is.
        composed: the params file of the run.
        conf: the folder of Hydra's groups.

    Returns:
        One or two command lines.
    """
    if (conf / "recipe" / f"{recipe}.yaml").exists():
        changes = overrides(recipe, composed, conf)
        options = [word for change in (f"recipe={recipe}", *changes) for word in ("-S", change)]
        run = shlex.join(["dvc", "exp", "run", *options])
    else:
        run = "dvc repro"
    commit = git.commit(12)
    return [f"git checkout {commit}", run] if commit else [run]


def overrides(recipe: str, composed: Path, conf: Path) -> list[str]:
    """Return Hydra's overrides that turn the recipe into the composed params; none without such a recipe."""
    if not (conf / "recipe" / f"{recipe}.yaml").exists():
        return []
    return list(_changes(_recipe(recipe, conf), yaml.safe_load(composed.read_bytes())))


def uncommitted() -> bool:
    """Return whether code or recipes differ from the commit, so that checking it out is not enough.

    params.yaml may differ: the options of the command have its values.
    """
    return git.differs(":!params.yaml", ":!dvc.lock")


def _recipe(recipe: str, conf: Path) -> Any:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(conf.resolve()), version_base=None):
        return OmegaConf.to_container(compose("config", [f"recipe={recipe}"]), resolve=True)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Overrides that turn `before` into `after`: a new key has a plus, a removed key a tilde."""
    yield from (f"~{prefix}{key}" for key in before if key not in after)
    for key, value in after.items():
        if key not in before:
            yield f"+{prefix}{key}={word(value)}"
        elif isinstance(value, Mapping) and isinstance(before[key], Mapping):
            yield from _changes(before[key], value, f"{prefix}{key}.")
        elif value != before[key]:
            yield f"{prefix}{key}={word(value)}"


def word(value: Any) -> str:
    """Return a value in the grammar of Hydra's overrides, which is neither quite YAML nor JSON."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{word(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(word, value)) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    # A word that Hydra would read as something else, such as null, inf or 12, has to be quoted too.
    plain = re.fullmatch(r"[A-Za-z_/][\w./-]*", value, re.ASCII) and value.lower() not in ("inf", "nan")
    return value if plain and yaml.safe_load(value) == value else quoted(value)


def quoted(value: str) -> str:
    """Quote a value for Hydra, where a backslash escapes only before a quote."""
    return "'" + re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), value) + "'"
