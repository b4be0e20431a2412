"""The default recipe, or the first pass over a folder, from nothing: at this commit and at an earlier one.

Each run is `dvc repro` in a new clone with a cache of its own and no bytecode of Convoy's, so the figures
hold all that a first run waits for. CPU seconds are those of DVC and of all stages; unlike seconds, they can
be compared on a busy machine. Both commits use the packages that are installed here.
"""

import json
import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmarks.harness import markdown
from benchmarks.workspace import clone, environment, timed
from stages import cli

_METRICS = Path("reports/metrics.json")


class Run(NamedTuple):
    """Seconds, CPU seconds, and the test accuracy of each member and the ensemble."""

    seconds: float
    cpu: float
    accuracies: dict[str, float]


def compare(*, base: str, data: Path | None = None, repeats: int = 1) -> None:
    """Print what both commits take, the shares, and the accuracies.

    Args:
        base: The earlier commit.
        data: A folder per class: measure `ingest`, `audit` and `resize` of its images to 256² instead.
        repeats: Take the median of this many.
    """
    runs: dict[str, list[Run]] = {base: [], "HEAD": []}
    with tempfile.TemporaryDirectory(prefix="convoy-bench-") as work:
        for number in range(repeats):
            for commit, finished in runs.items():
                finished.append(_run(Path(work) / f"{commit}-{number}", commit, data))
    before, now = runs[base], runs["HEAD"]
    rows = [
        _row("seconds", [run.seconds for run in before], [run.seconds for run in now]),
        _row("CPU seconds", [run.cpu for run in before], [run.cpu for run in now]),
    ]
    for name, accuracy in now[0].accuracies.items():
        rows.append((f"accuracy, {name}", f"{before[0].accuracies[name]:.4f}", f"{accuracy:.4f}", ""))
    print(markdown(("figure", base, "HEAD", "share"), rows))
    print(f"\nmedian of {repeats}, load {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores")


def _run(root: Path, commit: str, data: Path | None) -> Run:
    clone(root, commit)
    if data is not None:
        _read_folder(root, data)
    stages = [] if data is None else ["audit", "resize"]
    seconds, cpu = timed(["dvc", "repro", "-q", *stages], root, environment(root))
    metrics: dict[str, Any] = {}
    if data is None:
        metrics = json.loads((root / _METRICS).read_text(encoding="utf-8"))
    shutil.rmtree(root)
    return Run(seconds, cpu, {name: values["accuracy"] for name, values in metrics.items()})


def _read_folder(root: Path, data: Path) -> None:
    """Let the params name a copy of the folder; every commit compared has these keys."""
    shutil.copytree(data, root / "images")
    values: dict[str, Any] = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    values["ingest"].update(source={"kind": "folder", "path": "images"}, max_reject_fraction=1.0)
    values["resize"].update(size=[256, 256], keep_aspect=True, color="rgb", quality="exact")
    (root / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def _row(name: str, before: list[float], now: list[float]) -> tuple[str, ...]:
    old, new = statistics.median(before), statistics.median(now)
    return name, f"{old:.1f}", f"{new:.1f}", f"{new / old:.0%}"


if __name__ == "__main__":
    cli.main(compare)
