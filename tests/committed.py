"""The committed params.yaml, and copies of it with one value changed."""

from pathlib import Path
from typing import Any

import yaml

from tests.paths import ROOT

COMMITTED = ROOT / "params.yaml"


def edited(folder: Path, key: str, value: Any) -> Path:
    """The committed params with one value changed, in a file of their own."""
    values = yaml.safe_load(COMMITTED.read_text(encoding="utf-8"))
    *parents, last = key.split(".")
    inside = values
    for parent in parents:
        inside = inside[parent]
    if value is None:
        del inside[last]
    else:
        inside[last] = value
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path
