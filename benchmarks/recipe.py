"""The default recipe from an empty cache, at this commit and at an earlier one, in turn.

Each run is `dvc repro` in a new clone with a cache of its own and no bytecode of Convoy's, so the figures
hold all that a first run waits for. CPU seconds are those of DVC and of all stages; unlike seconds, they can
be compared on a busy machine. Both commits use the packages that are installed here.
"""

import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness import markdown
from benchmarks.workspace import clone, environment, timed
from stages import cli

_METRICS = Path("reports/metrics.json")


class Run(NamedTuple):
    """Seconds, CPU seconds, and the test accuracy of each member and the ensemble."""

    seconds: float
    cpu: float
    accuracies: dict[str, float]


def compare(*, base: str, repeats: int = 1) -> None:
    """Print what both commits take, the shares, and the accuracies.

    Args:
        base: The earlier commit.
        repeats: Take the median of this many.
    """
    runs: dict[str, list[Run]] = {base: [], "HEAD": []}
    with tempfile.TemporaryDirectory(prefix="convoy-bench-") as work:
        for number in range(repeats):
            for commit, finished in runs.items():
                finished.append(_run(Path(work) / f"{commit}-{number}", commit))
    before, now = runs[base], runs["HEAD"]
    rows = [
        _row("seconds", [run.seconds for run in before], [run.seconds for run in now]),
        _row("CPU seconds", [run.cpu for run in before], [run.cpu for run in now]),
    ]
    for name, accuracy in now[0].accuracies.items():
        rows.append((f"accuracy, {name}", f"{before[0].accuracies[name]:.4f}", f"{accuracy:.4f}", ""))
    print(markdown(("figure", base, "HEAD", "share"), rows))
    print(f"\nmedian of {repeats}, load {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores")


def _run(root: Path, commit: str) -> Run:
    clone(root, commit)
    seconds, cpu = timed(["dvc", "repro", "-q"], root, environment(root))
    metrics: dict[str, Any] = json.loads((root / _METRICS).read_text(encoding="utf-8"))
    members = {name: values["accuracy"] for name, values in metrics.items() if "accuracy" in values}
    subprocess.run(["rm", "-rf", root], check=True)
    return Run(seconds, cpu, members)


def _row(name: str, before: list[float], now: list[float]) -> tuple[str, ...]:
    old, new = statistics.median(before), statistics.median(now)
    return name, f"{old:.1f}", f"{new:.1f}", f"{new / old:.0%}"


if __name__ == "__main__":
    cli.main(compare)
