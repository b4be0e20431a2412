"""Peak memory of every data stage on n pictures and on ten times as many, each stage a process of its own.

The column `ours` is the peak with 10n pictures, `bound` the one with n: their ratio should stay near 1.
"""

import subprocess
import sys
from pathlib import Path

from benchmarks import harness, pictures
from benchmarks.harness import Row, Settings
from benchmarks.pipeline import Pipeline

STAGES = ("ingest", "audit", "resize", "mean", "pack", "extract")
_GROWTH = 10
_SIZE = 256
# A small process between this one and the stage, because a process counts its parent's memory as its own.
_WATCH = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def measure(settings: Settings) -> list[Row]:
    """One row per stage; always on small pictures, where what is kept per picture shows most."""
    many = pictures.small(settings)
    few = _tenth(many, settings.work / "tenth")
    least = _peaks(Pipeline.create(few, settings.work / "few-memory", _SIZE))
    most = _peaks(Pipeline.create(many, settings.work / "many-memory", _SIZE))
    return [
        Row(f"peak memory of {stage}, 10 times the pictures", "MiB", most[stage], bound=least[stage])
        for stage in STAGES
    ]


def _tenth(source: Path, folder: Path) -> Path:
    for path in sorted(source.rglob("*.jpg"))[::_GROWTH]:
        link = folder / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    return folder


def _peaks(pipeline: Pipeline) -> dict[str, float]:
    """Peak resident memory in MiB by stage, run in the pipeline's order."""
    params = str(pipeline.root / "params.yaml")
    return {
        stage: _peak("-m", f"stages.{stage}", "--params", params, *pipeline.arguments(stage))
        for stage in STAGES
    }


def _peak(*arguments: str) -> float:
    watch = [sys.executable, "-c", _WATCH, sys.executable, *arguments]
    said = subprocess.run(watch, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    kibibytes = int(said.stdout.split()[-1])
    return kibibytes / 1024


if __name__ == "__main__":
    harness.main(measure)
