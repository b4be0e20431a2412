"""sweep: trials are trainings with other params, judged on val, side by side in MLflow."""

import os
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from stages import cli
from stages.common.errors import ParamsError
from stages.tools.sweep import SweepError, search, sweep
from tests.conftest import Project

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tracked: Path, packed: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the project's params, packed images, and one member that needs no Keras: it is fast."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    linear = yaml.safe_load((ROOT / "conf/model/sgd.yaml").read_text(encoding="utf-8"))
    values["models"] = {"linear": linear | {"epochs": 2, "seed": values["seed"]}}
    values["ensemble"]["members"] = ["linear"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    (tmp_path / "data").symlink_to(packed.root / "data")
    return tmp_path


def space(workspace: Path, **ranges: object) -> Path:
    path = workspace / "space.yaml"
    path.write_text(yaml.safe_dump(ranges), encoding="utf-8")
    return path


@pytest.mark.slow
def test_trials_are_kept_added_to_and_siblings_in_mlflow(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ranges = space(workspace, learning_rate={"low": 0.001, "high": 0.01, "log": True})
    cli.main(search, ["linear", "--space", str(ranges), "--trials", "1"])
    cli.main(search, ["linear", "--space", str(ranges), "--trials", "1"])
    assert "dvc exp run -S models.linear.learning_rate=0.00" in capsys.readouterr().out
    client = MlflowClient()
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.member = 'linear'")
    rates = {run.data.params["learning_rate"] for run in runs}
    assert len(rates) == 2
    assert len({run.data.tags["mlflow.parentRunId"] for run in runs}) == 1


@pytest.mark.slow
def test_a_sweep_of_nothing_but_diverged_trials_says_so(workspace: Path) -> None:
    ranges = space(workspace, learning_rate={"choices": [1e300]})
    with pytest.raises(SweepError, match="none of 1 trials came to its end"):
        sweep("linear", ranges, 1)


@pytest.mark.parametrize(
    ("member", "key", "about", "said"),
    [
        ("resnet", "epochs", {"choices": [1]}, "no model resnet; allowed: linear"),
        ("linear", "epoch", {"choices": [1]}, "no models.linear.epoch; allowed here: alpha"),
        ("linear", "epochs", {"from": 1}, "epochs is .*; allowed: {choices"),
        ("linear", "epochs", 3, "epochs is 3; allowed: {choices"),
    ],
)
def test_mistakes_are_named_before_anything_is_trained(
    workspace: Path, member: str, key: str, about: object, said: str
) -> None:
    with pytest.raises(ParamsError, match=said):
        sweep(member, space(workspace, **{key: about}), 1)
