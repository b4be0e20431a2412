"""train: one fitted member, and its run in a real MLflow store."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from stages import learners
from stages.data import store
from stages.errors import LearnerError
from stages.files import digest, read_json
from stages.learners import cnn, logistic_regression
from stages.train import train

ROOT = Path(__file__).parents[1]
MODELS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["models"]


def logistic(**changes: Any) -> logistic_regression.Params:
    values = MODELS["hog_logistic"] | {"input": "features/pixels", "c": [0.1, 1.0]} | changes
    return logistic_regression.Params.model_validate(values)


@pytest.fixture(scope="module")
def member(tracked: Path, features: Path) -> Path:
    """A logistic regression on pixels, trained and tracked."""
    folder = tracked / "models" / "logistic"
    train("logistic", params=logistic(), recipe="tiny", data=features, model=folder)
    return folder


def run_of(folder: Path) -> Run:
    return MlflowClient().get_run(read_json(folder / "run.json")["run_id"])


def artifacts(run: Run, folder: str) -> set[str]:
    return {one.path for one in MlflowClient().list_artifacts(run.info.run_id, folder)}


def test_a_member_says_what_it_is_and_how_to_feed_it(member: Path, features: Path) -> None:
    assert {one.name for one in member.iterdir()} == {"model.skops", "spec.json", "history.json", "run.json"}
    spec = read_json(member / "spec.json")
    assert (spec["name"], spec["kind"], spec["input"]) == (
        "logistic",
        "logistic_regression",
        "features/pixels",
    )
    assert (spec["shape"], spec["dtype"]) == ([16 * 16 * 3], "float32")
    assert spec["provenance"]["classes"] == ["cat", "dog", "panda"]
    assert read_json(member / "history.json")["c"] == [0.1, 1.0]
    assert isinstance(learners.load(member), logistic_regression.LogisticRegression)


def test_its_run_is_tagged_with_the_commit_the_data_and_the_stage(
    member: Path, tracked: Path, packed: Any
) -> None:
    run = run_of(member)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tracked, capture_output=True, text=True, check=True
    )
    tags = {
        "stage": "train@logistic",
        "member": "logistic",
        "recipe": "tiny",
        "manifest": digest(packed.manifest),
        "git.commit": commit.stdout.strip(),
        "git.dirty": "false",
    }
    assert tags.items() <= run.data.tags.items()
    assert run.info.run_name == "logistic"
    assert run.info.status == "FINISHED"
    assert MlflowClient().get_experiment(run.info.experiment_id).name == "tiny"


def test_its_run_has_params_metrics_and_figures(member: Path) -> None:
    run = run_of(member)
    assert run.data.params["kind"] == "logistic_regression"
    assert json.loads(run.data.params["c"]) == [0.1, 1.0]
    assert run.data.metrics["final_val_accuracy"] == 1.0
    assert run.data.metrics["final_val_n"] == 12
    assert artifacts(run, "figures") == {"figures/confusion_val.png", "figures/learning_curves.png"}


def test_the_logged_model_is_complete_and_gives_the_members_probabilities(
    member: Path, features: Path, tmp_path: Path
) -> None:
    """Loaded in a process of its own, far from this checkout: with the code that was logged."""
    with store.Reader(features / "test.h5") as rows:
        pictures = rows.read(0, len(rows))
        expected = learners.predict_all(learners.load(member), rows)
    np.save(tmp_path / "rows.npy", pictures)
    script = (
        "import sys, mlflow, numpy as np\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "np.save('found.npy', model.predict(np.load('rows.npy')))\n"
        "import stages; print(stages.__file__)\n"
    )
    uri = f"runs:/{read_json(member / 'run.json')['run_id']}/model"
    done = subprocess.run(
        [sys.executable, "-c", script, uri], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert not Path(done.stdout.strip().splitlines()[-1]).is_relative_to(ROOT)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-6)


def test_a_networks_run_has_its_metrics_per_epoch(tracked: Path, packed: Any) -> None:
    values = MODELS["lenet"] | {"network": "shallownet", "code": "stages/nets/shallownet.py"}
    values["train"] = MODELS["lenet"]["train"] | {"epochs": 2, "batch_size": 8}
    folder = tracked / "models" / "net"
    params = cnn.Params.model_validate(values)
    train("net", params=params, recipe="tiny", data=packed.packed, model=folder)

    run = run_of(folder)
    history = MlflowClient().get_metric_history(run.info.run_id, "val_loss")
    assert [(one.step, one.value) for one in history] == list(
        enumerate(read_json(folder / "history.json")["val_loss"], start=1)
    )
    assert run.data.params["train.epochs"] == "2"
    assert run.data.params["optimizer.learning_rate"] == "0.01"
    assert read_json(folder / "spec.json")["shape"] == [16, 16, 3]
    assert {"figures/confusion_val.png", "figures/learning_curves.png"} <= artifacts(run, "figures")


def test_a_failed_training_leaves_no_member_and_a_failed_run(
    tracked: Path, features: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "logistic"
    with pytest.raises(LearnerError, match="99 folds"):
        train("logistic", params=logistic(folds=99), recipe="failing", data=features, model=folder)
    assert list(folder.parent.iterdir()) == []
    experiment = MlflowClient().get_experiment_by_name("failing")
    (run,) = MlflowClient().search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
