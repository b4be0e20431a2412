"""Peak memory of every data stage, and of fitting a classifier, on n images and on ten times as many.

Each is a process of its own. The column `ours` is the peak with 10n images, `bound` the one with n: their
ratio should stay near 1.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from benchmarks import harness, images
from benchmarks.harness import Row, Settings
from benchmarks.pipeline import Pipeline

STAGES = ("ingest", "audit", "resize", "mean", "pack", "extract")
FITTED = "train"
# Out of core. Of few weights, so that images would show.
_CLASSIFIER = {"input": "data/packed", "hidden": [16], "epochs": 1, "seed": 1}
_GROWTH = 10
_SIZE = 256
# A small process between this one and the stage, because a process counts its parent's memory as its own.
_WATCH = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def measure(settings: Settings) -> list[Row]:
    """One row per stage; always on small images, where memory per image shows most."""
    sources = images.small(settings)
    few = _tenth(sources, settings.work / "tenth")
    least = _peaks(Pipeline.create(few, settings.work / "few-memory", _SIZE))
    most = _peaks(Pipeline.create(sources, settings.work / "many-memory", _SIZE))
    return [
        Row(f"peak memory of {stage}, 10 times the images", "MiB", most[stage], bound=least[stage])
        for stage in (*STAGES, FITTED)
    ]


def _tenth(source: Path, folder: Path) -> Path:
    for path in sorted(source.rglob("*.jpg"))[::_GROWTH]:
        link = folder / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    return folder


def _peaks(pipeline: Pipeline) -> dict[str, float]:
    """Peak resident memory in MiB by stage, in the pipeline's order."""
    params = pipeline.root / "params.yaml"
    peaks = {stage: _peak(stage, "--params", params, *pipeline.arguments(stage)) for stage in STAGES}
    _only_a_classifier(params)
    words = ("classifier", "--params", params, "--data", pipeline.packed, "--model", pipeline.root / "model")
    tracking = f"sqlite:///{pipeline.root.resolve()}/mlflow.db"
    return peaks | {FITTED: _peak(FITTED, *words, MLFLOW_TRACKING_URI=tracking)}


def _only_a_classifier(path: Path) -> None:
    """Make scikit-learn's perceptron the only member of these params."""
    params: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    defaults = yaml.safe_load(Path("conf/model/mlp.yaml").read_text(encoding="utf-8"))
    params["models"] = {"classifier": defaults | _CLASSIFIER}
    params["ensemble"]["members"] = ["classifier"]
    path.write_text(yaml.safe_dump(params), encoding="utf-8")


def _peak(stage: str, *arguments: str | Path, **environment: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _WATCH, sys.executable, "-m", f"stages.{stage}", *map(str, arguments)],
        check=True,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    kibibytes = int(done.stdout.split()[-1])
    return kibibytes / 1024


if __name__ == "__main__":
    harness.main(measure)
