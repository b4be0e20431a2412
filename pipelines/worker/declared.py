"""The stages of a clone's dvc.yaml."""

from pathlib import Path
from typing import Any

import yaml

from pipelines.worker.job import RefusedError


def stages(root: Path) -> dict[str, Any]:
    """Read dvc.yaml.

    Args:
        root: The clone.

    Returns:
        Stage → what dvc.yaml says of it, in its order, with templates not filled in.

    Raises:
        RefusedError: The file is missing or no YAML, or has no stages.
    """
    try:
        declared = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RefusedError("the repository has no dvc.yaml") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise RefusedError(f"dvc.yaml{place}: {getattr(error, 'problem', None) or 'is no YAML'}") from None
    named = declared.get("stages") if isinstance(declared, dict) else None
    if not isinstance(named, dict) or not named:
        raise RefusedError("dvc.yaml has no stages")
    return named


def value_at(params: Any, key: str) -> Any:
    """The value of a dotted key; None where there is none."""
    for part in key.split("."):
        params = params.get(part) if isinstance(params, dict) else None
    return params
