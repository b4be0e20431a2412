"""Errors for mistyped overrides that name the nearest key, in place of Hydra's advice to prepend `+`.

Hydra imports every module of the namespace package `hydra_plugins` on the path, and DVC puts the repository's
root there (`hydra.plugins_path`): `dvc exp run -S`, `make run SET=`, the worker and the tests all get these
errors. Hydra has no hook for errors, so two functions of its loader are wrapped. A command of our own would
leave `dvc exp run` with the wrong advice: with `+`, a mistyped key becomes an unknown one.
"""

import difflib
from collections.abc import Iterable
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import ConfigCompositionException, MissingConfigException
from omegaconf import OmegaConf

from stages.common.nearest import nearest_key

_apply = ConfigLoaderImpl._apply_overrides_to_config
_load = ConfigLoaderImpl.load_configuration
_NOT_THERE = "Could not override "


def _apply_overrides(overrides: list[Any], cfg: Any) -> None:
    for override in overrides:
        try:
            _apply([override], cfg)
        except ConfigCompositionException as error:
            if not str(error).startswith(_NOT_THERE):
                raise
            values = OmegaConf.to_container(cfg, resolve=False)
            raise ConfigCompositionException(_NOT_THERE + describe(override.key_or_group, values)) from None


def _load_configuration(self: ConfigLoaderImpl, *args: Any, **kwargs: Any) -> Any:
    try:
        return _load(self, *args, **kwargs)
    except MissingConfigException as error:
        # Of `recipe=conf/recipe/digits`, the name is what follows recipe.
        group, _, name = (error.missing_cfg_file or "").partition("/")
        if not group or not error.options:
            raise
        nearest = difflib.get_close_matches(name.rpartition("/")[2], error.options, n=1)
        guess = f"did you mean {nearest[0]}?" if nearest else f"conf/{group} has {', '.join(error.options)}"
        message = f"there is no {group} {name}; {guess}"
        raise MissingConfigException(message, error.missing_cfg_file, error.options) from None


def describe(key: str, values: Any) -> str:
    """Say what is wrong with a key and which key comes nearest.

    Args:
        key: A dotted key that `values` lacks.
        values: The composed params.

    Returns:
        `'KEY': the recipe NAME has no such key; did you mean …?`
    """
    start = f"'{key}': the recipe {values.get('recipe', '')}".rstrip() + " has no such key"
    if guess := nearest_key(key, values):
        return f"{start}; did you mean {guess}?"
    place, section = _deepest(key.split("."), values)
    names = (
        ", ".join(str(name) for name in section if name != "hydra")
        if isinstance(section, dict)
        else "no keys"
    )
    advice = f"; ++{key}=… adds a key that the recipe leaves out" if place else ""
    return f"{start}; {place or 'the top level'} has {names}{advice}"


def _deepest(parts: Iterable[str], values: Any) -> tuple[str, Any]:
    """The longest beginning of a key that exists, and its section."""
    place: list[str] = []
    for part in parts:
        if not isinstance(values, dict) or part not in values:
            break
        values = values[part]
        place.append(part)
    return ".".join(place), values


ConfigLoaderImpl._apply_overrides_to_config = staticmethod(_apply_overrides)  # type: ignore[method-assign]
ConfigLoaderImpl.load_configuration = _load_configuration  # type: ignore[method-assign]
