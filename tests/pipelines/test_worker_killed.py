"""A task that is killed at every point of its life, one after the other, ends as one that never was.

The points are those of a training with a remote. tests/tracking/test_killed_trainings.py has more points
within the stage, each by itself. The worker is the same program under every runner:
tests/pipelines/test_runners.py kills it under each, tests/docker/test_stack.py with its container and its
scheduler, tests/kubernetes/ with its pod and its node.
"""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from tests.paths import ROOT
from tests.pipelines.conftest import Repository
from tests.pipelines.driven import Driven, ended, upto

pytestmark = pytest.mark.slow

# In the order of a task's life.
POINTS = ("started", "cloned", "pulled", "fitting", "moved", "committed", "pushed", "result written")
WORKER = """
import os, signal, sys
from pipelines.worker import __main__ as worker, dvc

def die(*_, **__):
    os.killpg(0, signal.SIGKILL)

def dying(function):
    def call(*args, **kwargs):
        function(*args, **kwargs)
        die()
    return call

point = os.environ["KILL_AT"]
if point == "started":
    worker.job.read = die
elif point == "cloned":
    dvc.fetch = die
elif point == "pulled":
    dvc.fetch = dying(dvc.fetch)
elif point == "committed":
    dvc.repro = dying(dvc.repro)
elif point == "pushed":
    dvc.push = dying(dvc.push)
elif point == "result written":
    worker._write = dying(worker._write)
sys.exit(worker.main())
"""
STAGE = """
import os, signal, sys
sys.path.insert(0, os.environ["PROJECT"])
from pathlib import Path
from stages import cli, tracking
from stages.models.learners import sgd
from stages.train import train

epoch, point, model = tracking.Run.epoch, os.environ["KILL_AT"], Path("models/net")

def die_after_first_epoch(run, number, values):
    epoch(run, number, values)
    run._live.close()
    os.killpg(0, signal.SIGKILL)

def wait_after_first_epoch(run, number, values):
    epoch(run, number, values)
    print("waiting", flush=True)
    while True:
        signal.pause()

if point == "fitting":
    tracking.Run.epoch = die_after_first_epoch
elif point == "cancelled":
    tracking.Run.epoch = wait_after_first_epoch
params = sgd.Params(
    kind="sgd", code="stages/models/learners/sgd.py", input="features/pixels", normalize=None,
    loss="log_loss",
    penalty="l2", l1_ratio=0.15, alpha=0.0001, learning_rate=0.01, epochs=2,
    seed=1,
)
with cli.error_boundary("train"):
    train("net", params=params, recipe="killed", data=Path(os.environ["FEATURES"]), model=model)
print("learned", (model / "history.json").read_text().split(), flush=True)
if point == "moved":
    os.killpg(0, signal.SIGKILL)
"""


def attempt(repository: Repository, point: str) -> tuple[int, str]:
    """One try at the task, killed at a point; its exit status and output. Nothing of it runs afterwards."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER],
        cwd=ROOT,
        env=repository.environment("stage", KILL_AT=point),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    ) as process:
        output, _ = process.communicate(timeout=240)
    folder = str(repository.root.parent)
    left_over = [other for other in psutil.process_iter(["cwd"]) if str(other.info["cwd"]).startswith(folder)]
    # The kernel takes a moment to end those of the group.
    _, orphans = psutil.wait_procs(left_over, timeout=20)
    assert not orphans, f"{point}: {orphans}"
    return process.returncode, output


@pytest.fixture
def training(repository: Repository, features: Path, empty_database: Path, tmp_path: Path) -> MlflowClient:
    """MLflow, where the repository's one stage tracks a real training; a remote, no shared cache."""
    repository.write("train.py", STAGE)
    graph = "cmd: python train.py, deps: [train.py], outs: [models/net]"
    repository.write("dvc.yaml", f"stages:\n  train: {{{graph}}}\n")
    repository.write(".gitignore", "/models/\n/.tracking\n")
    repository.write(
        ".dvc/config", f"[core]\n    analytics = false\n['remote \"far\"']\n    url = {tmp_path}/far\n"
    )
    repository.commit()
    store = f"sqlite:///{shutil.copy(empty_database, tmp_path / 'mlflow.db')}"
    repository.variables = {
        "CONVOY_CACHE": "",
        "CONVOY_REMOTE": "far",
        "CONVOY_STAGE": "train",
        "CONVOY_PARAMS": "base: 1\n",
        "CONVOY_RUN": "run-1",
        "MLFLOW_TRACKING_URI": store,
        "PROJECT": str(ROOT),
        "FEATURES": str(features),
    }
    return MlflowClient(store)


def test_a_cancelled_training_and_its_parent_are_over_in_mlflow(
    repository: Repository, training: MlflowClient
) -> None:
    """SIGTERM to the process runner, as Airflow cancels; tests/pipelines/e2e/test_cancel.py has Airflow."""
    driven = Driven("process", repository)
    names = ("MLFLOW_TRACKING_URI", "PROJECT", "FEATURES")
    driven.environment = {name: repository.variables[name] for name in names} | {"KILL_AT": "cancelled"}
    with driven.started("train", CONVOY_PARAMS="base: 1\n") as process:
        assert process.stdout is not None
        upto(process.stdout, "waiting")
        experiment = training.get_experiment_by_name("killed").experiment_id
        assert {run.info.status for run in training.search_runs([experiment])} == {"RUNNING"}
        process.send_signal(signal.SIGTERM)
        result, output = ended(process)
    assert result["outcome"] == "stopped", output
    runs = training.search_runs([experiment])
    assert [run.info.status for run in runs] == ["KILLED", "KILLED"], "the training and its parent"
    assert driven.remains("train") == []


def test_a_task_killed_at_every_point_in_turn_ends_with_one_run_and_the_same_result(
    repository: Repository, training: MlflowClient
) -> None:
    result, histories = repository.shared / "result.json", set()
    for point in POINTS:
        result.unlink(missing_ok=True)
        status, output = attempt(repository, point)
        assert status == -signal.SIGKILL, f"{point}: {output}"
        assert result.exists() == (point == "result written"), f"{point}: {output}"
        histories |= {line for line in output.splitlines() if line.startswith("learned ")}
    assert json.loads(result.read_text(encoding="utf-8"))["outcome"] == "restored", "it had been pushed"
    status, output = attempt(repository, "")
    assert (status, json.loads(result.read_text(encoding="utf-8"))["outcome"]) == (99, "restored"), output
    assert not list((repository.shared / "work").iterdir()), "clones of killed tries are left"
    assert len(histories) == 1, "another try, another training"
    recorded, _ = repository.work("record")
    assert recorded["reason"] == "all 1 stages restored from the cache"

    experiment = training.get_experiment_by_name("killed").experiment_id
    runs = training.search_runs([experiment])
    assert {run.info.status for run in runs} == {"FINISHED"}
    (member,) = (run for run in runs if run.data.tags.get("member") == "net")
    (parent,) = (run for run in runs if run.data.tags.get("convoy.run") == "run-1")
    assert member.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert [point.step for point in training.get_metric_history(member.info.run_id, "loss")] == [1, 2]
    models = training.search_logged_models([experiment])
    assert [(model.source_run_id, model.status) for model in models] == [(member.info.run_id, "READY")]
