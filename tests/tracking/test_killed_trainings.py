"""A training that is killed at any point of its life can be run again, and MLflow then has it once."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.common.files import read_json
from stages.tracking import LINK, record
from tests.paths import ROOT

pytestmark = pytest.mark.slow

# Trains one member; argv: the folder of its features, where to be killed, the recipe, and the project.
TRAIN = """
import os, signal, sys
from pathlib import Path
import yaml
from stages import tracking
from stages.models.learners import sgd
from stages.tracking import runs, upload
from stages.train import train

data, point = Path(sys.argv[1]), sys.argv[2]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

epoch, finish = tracking.Run.epoch, upload.upload

def fitting(run, number, values):
    epoch(run, number, values)
    if number == 2:
        run._live.close()
        die()

def logged(kept):
    finish(kept)
    die()

if point == "opened":
    runs._describe = die
elif point == "fitting":
    tracking.Run.epoch = fitting
elif point == "logged":
    upload.upload = logged
elif point == "moving":
    runs.write_json = die
values = yaml.safe_load((Path(sys.argv[4]) / "conf/model/sgd.yaml").read_text(encoding="utf-8"))
values |= {"input": "features/pixels", "normalize": None, "epochs": 4, "seed": 1}
train("net", params=sgd.Params(**values), recipe=sys.argv[3], data=data, model=Path("models/net"))
if point == "moved":
    die()
"""


def train(features: Path, point: str, recipe: str) -> int:
    words = [sys.executable, "-c", TRAIN, str(features), point, recipe, str(ROOT)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CONVOY_CHECKPOINTS": "checkpoints"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.mark.parametrize(
    ("point", "machine"),
    [
        ("opened", "the same machine"),
        ("fitting", "the same machine"),
        ("fitting", "another machine"),
        ("logged", "the same machine"),
        ("logged", "another machine"),
        ("moving", "the same machine"),
        ("moved", "the same machine"),
    ],
)
def test_a_killed_training_is_run_again_in_the_same_run(
    tracked: Path, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, machine: str
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = f"killed {point} {machine}"
    assert train(features, point, recipe) == -signal.SIGKILL
    # DVC removes a stage's outputs before it runs the stage again.
    shutil.rmtree("models/net", ignore_errors=True)
    if machine == "another machine":
        shutil.rmtree(record.waiting(), ignore_errors=True)
    assert train(features, "", recipe) == 0

    client = MlflowClient()
    experiment = client.get_experiment_by_name(recipe).experiment_id
    members = client.search_runs([experiment], "tags.member = 'net'")
    link = read_json(tmp_path / "models" / "net" / LINK)
    assert read_json(tmp_path / "models" / "net" / "tracking" / "record.json")["resumed"] is True
    assert [(run.info.run_id, run.info.status) for run in members] == [(link["run_id"], "FINISHED")]
    history = read_json(tmp_path / "models" / "net" / "history.json")
    for name in ("loss", "val_loss"):
        points = client.get_metric_history(link["run_id"], name)
        assert [(point.step, point.value) for point in points] == list(enumerate(history[name], start=1))
    (model,) = client.search_logged_models([experiment])
    assert (model.source_run_id, model.status) == (link["run_id"], "READY")
    assert list(tmp_path.rglob("*.part")) == []
