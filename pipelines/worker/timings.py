"""How long each stage took when it last ran, in the folder that outlives the tasks."""

import json
from pathlib import Path

from pipelines.worker.files import write


def last(state: Path | None, stage: str) -> float | None:
    """Seconds, or None when the stage has not run here before."""
    if state is None:
        return None
    try:
        return float(json.loads(_path(state, stage).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return None


def save(state: Path | None, stage: str, seconds: float) -> None:
    """Write how long a stage took. Two runs may do so at once: the last one wins."""
    if state is None:
        return
    write(_path(state, stage), json.dumps(round(seconds, 1)))


def _path(state: Path, stage: str) -> Path:
    return state / "seconds" / f"{stage}.json"
