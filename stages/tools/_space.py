"""The space of a sweep: which params are drawn, and from which values."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stages.common.errors import ParamsError

if TYPE_CHECKING:
    import optuna

# Key below the member's own → {choices: […]} or {low: …, high: …, log: true|false}.
Ranges = dict[str, dict[str, Any]]


def read(path: Path) -> Ranges:
    """Read the ranges by key.

    Raises:
        ParamsError: The file is missing, or a range is none.
    """
    try:
        ranges = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ParamsError(f"{path}: {error}") from None
    allowed = "{choices: […]} or {low: …, high: …, log: true|false}"
    for key, about in ranges.items() if isinstance(ranges, dict) else [("the file", ranges)]:
        complete = isinstance(about, dict) and ({"choices"} == set(about) or {"low", "high"} <= set(about))
        if not complete or set(about) - {"choices", "low", "high", "log"}:
            raise ParamsError(f"{path}: {key} is {about!r}; allowed: {allowed}")
    return dict(ranges)


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
