"""How much faster two processes of one core each train than one.

`KERAS_BACKEND=jax python -m benchmarks.rank_speed`. A process is pinned to a core. The first epoch compiles
and is left out. On a busy machine the ratio of seconds means little; that of CPU seconds says what two idle
cores would give at most: what one process computes in a step, over what each of two does.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.pipeline import Pipeline
from stages.common.launcher import free_port
from stages.common.ranks import Ranks
from stages.data.store import Reader
from stages.models import learners
from stages.models.learners.cnn import Params

# With the side of images: 8.5 and 1.7 million weights, whose gradients are added up each step.
_NETWORKS = {"minivggnet": 64, "minigooglenet": 32}
_IMAGES, _BATCH, _EPOCHS = 480, 64, 4


def main() -> None:
    """Measure, and print a line per network."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    for network, size in _NETWORKS.items():
        with tempfile.TemporaryDirectory(prefix="convoy-ranks-") as work:
            packed = Pipeline.of_two_classes(Path(work), _IMAGES, size).packed
            (alone,) = _run(network, packed, cores[:1])
            paired = _run(network, packed, cores)
        step = alone["seconds"] / alone["steps"]
        print(
            f"{network} at {size}x{size}, batch {_BATCH}: one process {step * 1000:.0f} ms a step; two: "
            f"{alone['seconds'] / paired[0]['seconds']:.2f} times as fast by seconds, "
            f"{alone['cpu'] / max(rank['cpu'] for rank in paired):.2f} by CPU seconds",
            flush=True,
        )


def _run(network: str, packed: Path, cores: list[int]) -> list[dict[str, float]]:
    """Train by one process on each of these cores; what each reports."""
    coordinator = f"127.0.0.1:{free_port()}"
    words = [sys.executable, "-m", "benchmarks.rank_speed", network, str(packed)]
    processes = [
        subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *words],
            env=os.environ | Ranks(rank, len(cores), coordinator).environment(),
            stdout=subprocess.PIPE,
        )
        for rank, core in enumerate(cores)
    ]
    return [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]


def train(network: str, packed: Path) -> None:
    """Train as one rank, and print seconds, CPU seconds and steps of all epochs but the first."""
    values: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["models"][
        "minivggnet"
    ]
    values |= {"network": network, "code": f"stages/models/networks/{network}.py"}
    values["train"] |= {"epochs": _EPOCHS, "batch_size": _BATCH}
    learner = learners.create(Params.model_validate(values))
    ends: list[tuple[float, float]] = []
    with Reader(packed / "train.h5") as rows, Reader(packed / "val.h5") as val:
        learner.fit(rows, val, lambda *_: ends.append((time.monotonic(), time.process_time())))
        steps = -(-len(rows) // _BATCH)
    (started, cpu), (ended, cpu_at_end) = ends[0], ends[-1]
    print(json.dumps({"seconds": ended - started, "cpu": cpu_at_end - cpu, "steps": steps * (len(ends) - 1)}))


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2])) if len(sys.argv) > 1 else main()
