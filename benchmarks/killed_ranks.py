"""Signals at random moments to one of two processes that train together.

`KERAS_BACKEND=jax python -m benchmarks.killed_ranks 20`. A trial sends SIGKILL or SIGTERM to a rank, waits
until all processes are gone, 30 s at most after the first has ended, and runs the same command again until it
succeeds. Its losses must be those of a training without signals, in one MLflow run. Prints a line per trial.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

from benchmarks.pipeline import Pipeline
from stages import cli
from stages.common import launcher
from stages.common.files import read_json
from stages.common.ranks import RANK

_ROOT = Path(__file__).parents[1]
_MEMBER, _EPOCHS, _IMAGES, _SIZE = "lenet", 12, 60, 28
# The promise of docs/scale.md.
_SECONDS_TO_END = 30.0


@dataclass(frozen=True)
class Training:
    """`python -m stages.train` as two processes, in a folder of its own."""

    folder: Path
    packed: Path

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the command."""
        words = [f"--params={self.folder / 'params.yaml'}", f"--data={self.packed}", f"--model={self.model}"]
        environment = os.environ | {
            launcher.VARIABLE: "2",
            "PYTHONPATH": str(_ROOT),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder}/mlflow.db",
            # Later attempts find what the first has compiled.
            "JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "stages.train", _MEMBER, *words],
                cwd=self.folder,
                env=environment,
                stderr=log,
                stdout=log,
            )

    @property
    def model(self) -> Path:
        """The folder that the command writes."""
        return self.folder / "models" / _MEMBER

    def losses(self) -> Any:
        """Losses of all epochs (2, N)."""
        history = read_json(self.model / "history.json")
        return np.array([history["loss"], history["val_loss"]])

    def last_lines(self) -> str:
        """The end of what the processes have logged."""
        return "\n".join((self.folder / "log.txt").read_text(errors="replace").splitlines()[-40:])

    def runs(self) -> list[str]:
        """The status of each MLflow run."""
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.folder}/mlflow.db")
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return [run.info.status for run in client.search_runs(experiments, f"tags.stage = 'train@{_MEMBER}'")]


def try_all(trials: int = 20, *, seed: int = 0) -> None:
    """Run the trials; ends with status 1 where one is not as promised.

    Args:
        trials: How many signals are sent.
        seed: Of the moments, the ranks and the signals.
    """
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(prefix="convoy-ranks-") as work:
        training = _prepare(Path(work))
        for _ in range(2):
            # The first compiles.
            started = time.monotonic()
            assert training.start().wait() == 0, (training.folder / "log.txt").read_text()
            duration = time.monotonic() - started
        expected, before = training.losses(), 2
        print(f"without signals: {duration:.0f} s, {_EPOCHS} epochs", flush=True)
        good = 0
        for trial in range(trials):
            rank, number = int(rng.integers(2)), (signal.SIGKILL, signal.SIGTERM)[int(rng.integers(2))]
            line, as_promised = _try(training, rank, number, duration * rng.uniform(0.1, 0.95), expected)
            new = training.runs()[: len(training.runs()) - before]
            before += len(new)
            as_promised = as_promised and new == ["FINISHED"]
            good += as_promised
            print(
                f"{trial + 1:2} {number.name} rank {rank} {line}, MLflow {new}",
                "ok" if as_promised else f"WRONG; the log:\n{training.last_lines()}",
                flush=True,
            )
        print(f"{good} of {trials} as promised")
    sys.exit(good != trials)


def _prepare(work: Path) -> Training:
    pipeline = Pipeline.of_two_classes(work, _IMAGES, _SIZE)
    values: dict[str, Any] = yaml.safe_load((work / "params.yaml").read_text(encoding="utf-8"))
    values["models"][_MEMBER]["train"] |= {"epochs": _EPOCHS, "batch_size": 8, "checkpoint_every": 1}
    (work / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=work, check=True)
    return Training(work, pipeline.packed)


def _try(
    training: Training, rank: int, number: signal.Signals, moment: float, expected: Any
) -> tuple[str, bool]:
    """One trial; what happened as words, and whether it is as promised."""
    process = training.start()
    time.sleep(moment)
    started = {
        int(child.environ()[RANK]): child
        for child in psutil.Process(process.pid).children()
        if RANK in child.environ()
    }
    if rank not in started:
        process.wait()
        return f"after {moment:4.1f} s: had ended", True
    started[rank].send_signal(number)
    sent, ends = time.monotonic(), []
    # After SIGTERM the rank ends when the batch is over, which may have to be compiled.
    _, alive = psutil.wait_procs(
        list(started.values()), timeout=300, callback=lambda _: ends.append(time.monotonic())
    )
    status, attempts = process.wait(), 1
    first, seconds = ends[0] - sent, time.monotonic() - ends[0]
    while status and attempts < 4:
        status, attempts = training.start().wait(), attempts + 1
    difference = float(np.abs(training.losses() - expected).max()) if not status else np.inf
    words = (
        f"after {moment:4.1f} s: gone in {first:4.1f} s, all gone {seconds:4.1f} s later, "
        f"{attempts} attempts, losses differ by {difference:.0e}"
    )
    return words, not alive and seconds < _SECONDS_TO_END and difference <= 1e-5


if __name__ == "__main__":
    cli.main(try_all)
