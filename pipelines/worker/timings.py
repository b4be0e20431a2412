"""How long each stage took when it last ran, kept in the folder that outlives the tasks."""

import json
from pathlib import Path


def last(state: Path | None, stage: str) -> float | None:
    """Seconds, or None when the stage has not run here before."""
    if state is None:
        return None
    try:
        return float(json.loads(_path(state, stage).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return None


def keep(state: Path | None, stage: str, seconds: float) -> None:
    """Remember how long a stage took."""
    if state is None:
        return
    path = _path(state, stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(round(seconds, 1)), encoding="utf-8")
    aside.replace(path)


def _path(state: Path, stage: str) -> Path:
    return state / "seconds" / f"{stage}.json"
