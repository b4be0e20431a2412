"""The commands that make a run again."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from stages.common import git


def reproduce(recipe: str, composed: Path, conf: Path) -> list[str]:
    """Get the code, then run the recipe with every value that differs from it in the `composed` params.

    Without a recipe of that name in `conf`, the params as they stand are all there is to run.
    """
    if (conf / "recipe" / f"{recipe}.yaml").exists():
        changes = _changes(_recipe(recipe, conf), yaml.safe_load(composed.read_bytes()))
        options = [word for change in (f"recipe={recipe}", *changes) for word in ("-S", change)]
        run = shlex.join(["dvc", "exp", "run", *options])
    else:
        run = "dvc repro"
    commit = git.commit(12)
    return [f"git checkout {commit}", run] if commit else [run]


def uncommitted() -> bool:
    """Whether code or recipes differ from the commit, so that checking it out is not enough.

    params.yaml may differ: the options of the command say how.
    """
    return bool(git.changes(":!params.yaml", ":!dvc.lock"))


def _recipe(recipe: str, conf: Path) -> Any:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(conf.resolve()), version_base=None):
        return OmegaConf.to_container(compose("config", [f"recipe={recipe}"]), resolve=True)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Overrides that turn one into the other: a new key has a plus, one that is gone a tilde."""
    yield from (f"~{prefix}{key}" for key in before if key not in after)
    for key, value in after.items():
        if key not in before:
            yield f"+{prefix}{key}={_word(value)}"
        elif isinstance(value, Mapping) and isinstance(before[key], Mapping):
            yield from _changes(before[key], value, f"{prefix}{key}.")
        elif value != before[key]:
            yield f"{prefix}{key}={_word(value)}"


def _word(value: Any) -> str:
    """A value in the grammar of Hydra's overrides, which is neither quite YAML nor JSON."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_word(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_word, value)) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    # A word that YAML would read as something else, such as "null" or "12", has to be quoted too.
    plain = re.fullmatch(r"[\w./-]+", value) and yaml.safe_load(value) == value
    return value if plain else "'" + value.replace("'", "\\'") + "'"
