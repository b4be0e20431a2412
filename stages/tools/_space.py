"""The space of a sweep: which params are drawn, and from which values."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stages.common.errors import ParamsError

if TYPE_CHECKING:
    import optuna

# Key below the member's own → {choices: […]} or {low: …, high: …, log: true|false}.
Ranges = dict[str, dict[str, Any]]
_FORMS = "{choices: […]} or {low: …, high: …, log: true|false}"


def read(path: Path) -> Ranges:
    """Read the ranges by key.

    Raises:
        ParamsError: The file is missing, or a range is none.
    """
    try:
        # As Hydra reads conf/: PyYAML alone takes 1e-5 for text.
        ranges: Any = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise ParamsError(f"{path}: {error}") from None
    if not isinstance(ranges, dict) or not ranges:
        raise ParamsError(f"{path} names no param; a line of it is KEY: {_FORMS}")
    for key, about in ranges.items():
        if allowed := _allowed_instead(about):
            raise ParamsError(f"{path}: {key} is {about!r}; {allowed}")
    return ranges


def _allowed_instead(about: Any) -> str | None:
    """What is allowed instead of something that is no range."""
    keys = set(about) if isinstance(about, dict) else set()
    if keys == {"choices"}:
        choices = about["choices"]
        return None if isinstance(choices, list) and choices else "choices must be a list of values"
    if not {"low", "high"} <= keys <= {"low", "high", "log"}:
        return f"allowed: {_FORMS}"
    low, high, logarithmic = about["low"], about["high"], about.get("log", False)
    if any(type(end) not in (int, float) or not math.isfinite(end) for end in (low, high)):
        return "low and high must be numbers"
    if not isinstance(logarithmic, bool):
        return "log must be true or false"
    if low > high:
        return "low must be at most high"
    return "low must be greater than 0 where log is true" if logarithmic and low <= 0 else None


def draw(trial: "optuna.Trial", key: str, about: Mapping[str, Any]) -> Any:
    """Let a trial draw a value of one range."""
    if "choices" in about:
        return trial.suggest_categorical(key, about["choices"])
    low, high, logarithmic = about["low"], about["high"], about.get("log", False)
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(key, low, high, log=logarithmic)
    return trial.suggest_float(key, low, high, log=logarithmic)


def put(section: dict[str, Any], key: str, value: Any) -> None:
    """Set the value at a dotted key that exists."""
    *path, last = key.split(".")
    for part in path:
        section = section[part]
    section[last] = value
