"""How long each stage took when it last ran, in the folder that outlives the tasks."""

import json
import os
from pathlib import Path


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
    path = _path(state, stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.uname().nodename}-{os.getpid()}.part")
    part.write_text(json.dumps(round(seconds, 1)), encoding="utf-8")
    part.replace(path)


def _path(state: Path, stage: str) -> Path:
    return state / "seconds" / f"{stage}.json"
