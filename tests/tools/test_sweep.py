"""sweep: trials are trainings with other params, judged on val, side by side in MLflow."""

import copy
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from mlflow import MlflowClient

from stages import cli, params
from stages.common.errors import ParamsError
from stages.data import store
from stages.models import learners
from stages.models.learners import cnn
from stages.scoring import metrics
from stages.scoring.predictions import Predictions
from stages.tools import _space
from stages.tools._process import TrialFailedError, run_trial
from stages.tools.sweep import STORAGE, SweepError, pruner, search, study_name, sweep
from stages.train import train
from tests.paths import ROOT
from tests.project import Project

RATES = {"learning_rate": {"low": 0.001, "high": 0.01, "log": True}}


@pytest.fixture
def workspace(tracked: Path, packed: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the project's params, packed images, and one member that needs no Keras: it is fast.

    A program in DVC's place has nothing to do, as the images are packed.
    """
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "bin" / "dvc"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    linear = yaml.safe_load((ROOT / "conf/model/sgd.yaml").read_text(encoding="utf-8"))
    values["models"] = {"linear": linear | {"epochs": 2, "seed": values["seed"]}}
    values["ensemble"]["members"] = ["linear"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    (tmp_path / "data").symlink_to(packed.root / "data")
    for folder in ("conf", "stages"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    return tmp_path


def space(workspace: Path, **ranges: object) -> Path:
    path = workspace / "space.yaml"
    path.write_text(yaml.safe_dump(ranges), encoding="utf-8")
    return path


def name(workspace: Path, ranges: Any, **changes: Any) -> str:
    values = yaml.safe_load((workspace / "params.yaml").read_text(encoding="utf-8"))
    values["models"]["linear"] |= changes
    changed = workspace / "changed.yaml"
    changed.write_text(yaml.safe_dump(values), encoding="utf-8")
    return study_name(params.load(changed), "linear", ranges)


@pytest.mark.slow
def test_a_resumed_study_has_a_parent_run_for_each_sweep_and_delivers_its_best_value(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ranges = space(workspace, **RATES)
    begun = time.time_ns() // 1_000_000  # other tests' trials are in the same store
    for _ in range(2):
        cli.main(search, ["linear", "--space", str(ranges), "--trials", "1"])
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert command[:3] == ["dvc", "exp", "run"]
    client = MlflowClient()
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    ours = f"tags.member = 'linear' and attributes.start_time >= {begun}"
    runs = client.search_runs([experiment.experiment_id], ours)
    assert len({run.data.params["learning_rate"] for run in runs}) == 2
    assert len({run.data.tags["mlflow.parentRunId"] for run in runs}) == 2
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert client.search_logged_models([experiment.experiment_id]) == []

    study = optuna.load_study(study_name=name(workspace, RATES), storage=STORAGE)
    assert len(study.trials) == 2
    settings = params.load(workspace / "params.yaml").models["linear"].model_copy(update=study.best_params)
    train("linear", params=settings, recipe="digits", data=Path("data/packed"), model=workspace / "model")
    with store.Reader(Path("data/packed/val.h5")) as val:
        probabilities = learners.predict_all(learners.load(workspace / "model"), val)
        scores = metrics.score(Predictions(val.ids, val.column("labels"), probabilities), 15)
    assert study.best_value == pytest.approx(scores["log_loss"], rel=1e-6)


@pytest.mark.slow
def test_a_diverged_trial_is_pruned_and_says_why(workspace: Path) -> None:
    ranges = {"learning_rate": {"choices": [1e300]}}
    with pytest.raises(SweepError, match="none of 1 trials completed"):
        sweep("linear", space(workspace, **ranges), 1)
    (trial,) = optuna.load_study(study_name=name(workspace, ranges), storage=STORAGE).trials
    assert trial.state.name == "PRUNED"
    assert "see normalize" in trial.user_attrs["reason"]


def test_a_trial_with_params_that_are_not_allowed_failed_and_says_why(workspace: Path) -> None:
    ranges = {"epochs": {"choices": [-1]}}
    with pytest.raises(SweepError):
        sweep("linear", space(workspace, **ranges), 1)
    (trial,) = optuna.load_study(study_name=name(workspace, ranges), storage=STORAGE).trials
    assert trial.state.name == "FAIL"
    assert "models.linear.epochs is -1" in trial.user_attrs["reason"]


@pytest.mark.slow
def test_a_sweep_keeps_its_params_when_another_command_composes_others(workspace: Path) -> None:
    """`dvc exp run` in the same workspace changed params.yaml, and the next trial was an unexpected error."""
    file = workspace / "params.yaml"
    composed = file.read_text(encoding="utf-8")

    class Pruner(optuna.pruners.NopPruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            file.write_text("{}", encoding="utf-8")
            return False

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("stages.tools.sweep.pruner", lambda ranges: Pruner())
        study = sweep("linear", space(workspace, **RATES), 2)
    assert file.read_text(encoding="utf-8") == "{}"
    file.write_text(composed, encoding="utf-8")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2


def test_another_space_budget_backend_or_data_is_another_study(
    workspace: Path, packed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = name(workspace, RATES)
    assert name(workspace, RATES) == same
    assert name(workspace, RATES, learning_rate=0.5) == same, "the space decides it"
    other_params = [
        name(workspace, {"learning_rate": {"choices": [0.1]}}),
        name(workspace, RATES, epochs=3),
    ]
    for variable, value in (("KERAS_BACKEND", "jax"), ("TF_ENABLE_ONEDNN_OPTS", "0")):
        with monkeypatch.context() as changed:
            changed.setenv(variable, value)
            other_params.append(name(workspace, RATES))
    (workspace / "data").unlink()
    for split in ("train", "val"):
        path = workspace / "data" / "packed" / f"{split}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with store.Reader(packed.packed / f"{split}.h5") as rows:
            fewer = rows.read(0, len(rows) - 1)
            with store.create(
                path, "images", fewer.shape, np.uint8, ids=rows.ids[:-1], provenance=rows.provenance
            ) as out:
                out.write(0, fewer)
    other_params.append(name(workspace, RATES))
    assert len({same, *other_params}) == 6


SCRIPT = """
import sys
print("a line of the log", file=sys.stderr, flush=True)
for epoch in (1, 2, 3):
    print('@trial {"epoch": %d, "val_error": 0.5}' % epoch, flush=True)
    if input() != "go":
        sys.exit(0)
"""


@pytest.mark.parametrize(
    ("end", "until", "result"),
    [
        ("print('@trial {\"val_log_loss\": 0.1}')", 3, {"val_log_loss": 0.1}),
        ("", 2, None),
        ('print(\'@trial {"diverged": "nan"}\'); sys.exit(1)', 3, {"diverged": "nan"}),
    ],
    ids=["complete", "stopped", "diverged"],
)
def test_a_trial_runs_until_it_is_stopped(
    end: str, until: int, result: object, capsys: pytest.CaptureFixture[str]
) -> None:
    reported: list[int] = []

    def report(epoch: int, val_error: float) -> bool:
        reported.append(epoch)
        return epoch < until or until == 3

    assert run_trial([sys.executable, "-c", SCRIPT + end], {}, report) == result
    assert reported == list(range(1, until + 1))
    assert capsys.readouterr().err == "a line of the log\n"


def test_a_trial_that_dies_names_its_status_and_last_line() -> None:
    script = "import sys; print('No space left on device'); sys.exit(3)"
    with pytest.raises(TrialFailedError, match="exit status 3: No space left on device"):
        run_trial([sys.executable, "-c", script], {}, lambda *_: True)


def test_pruning_saves_epochs_and_finds_as_good_a_rate() -> None:
    """Simulated curves: the best rate is 0.01; a tenth or ten times of it learns at a third of the speed."""

    def simulate(chosen: optuna.pruners.BasePruner, seed: int) -> tuple[int, float]:
        noise = np.random.default_rng(seed)
        study = optuna.create_study(pruner=chosen, sampler=optuna.samplers.TPESampler(seed=seed))

        def objective(trial: optuna.Trial) -> float:
            rate = trial.suggest_float("rate", 1e-4, 1, log=True)
            speed = 1 / (1 + 2 * np.log10(rate / 0.01) ** 2)
            error = 1.0
            for epoch in range(1, 13):
                error = 0.02 + 0.9 * float(np.exp(-speed * epoch / 3)) + noise.normal(0, 0.005)
                trial.report(error, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return error

        study.optimize(objective, n_trials=20)
        return sum(len(trial.intermediate_values) for trial in study.trials), study.best_value

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    results = [
        (simulate(pruner(RATES), seed), simulate(optuna.pruners.NopPruner(), seed)) for seed in range(10)
    ]
    saved = [1 - pruned[0] / full[0] for pruned, full in results]
    assert np.mean(saved) > 0.25
    assert np.mean([pruned[1] - full[1] for pruned, full in results]) < 0.01
    assert isinstance(pruner({"train.epochs": {"low": 1, "high": 9}}), optuna.pruners.NopPruner)


@pytest.mark.parametrize(
    ("member", "key", "about", "message"),
    [
        ("resnet", "epochs", {"choices": [1]}, "no models.resnet; allowed here: linear"),
        (
            "linear",
            "epoch",
            {"choices": [1]},
            "no models.linear.epoch .did you mean epochs..; allowed here: alpha",
        ),
        ("linear", "epochs", {"from": 1}, "epochs is .*; allowed: {choices"),
        ("linear", "epochs", 3, "epochs is 3; allowed: {choices"),
    ],
)
def test_mistakes_are_named_before_anything_is_trained(
    workspace: Path, member: str, key: str, about: object, message: str
) -> None:
    with pytest.raises(ParamsError, match=message):
        sweep(member, space(workspace, **{key: about}), 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trials", "0"], "for --trials. Must be >= 1"),
        (["--space", "nope.yaml"], "SPACE: nope.yaml does not exist"),
    ],
)
def test_a_mistyped_word_is_one_line(
    workspace: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        cli.main(search, ["linear", *words])
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (workspace / "sweeps.db").exists()


def test_the_rate_of_segments_is_not_searched(workspace: Path) -> None:
    """Every trial failed: the drawn rate was not the first segment's."""
    file = workspace / "params.yaml"
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    lenet = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["models"]["lenet"]
    lenet["train"] |= {"epochs": 3, "steps": None}
    segments = [{"until_epoch": 2, "learning_rate": 0.05}, {"until_epoch": 3, "learning_rate": 0.01}]
    lenet["optimizer"] |= {
        "learning_rate": 0.05,
        "schedule": {"kind": "segments", "segments": segments},
    }
    values["models"]["lenet"] = lenet
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    message = (
        "models.lenet.optimizer.schedule is segments, whose first one says optimizer.learning_rate; "
        "set optimizer.schedule=constant, or name a space without optimizer.learning_rate"
    )
    with pytest.raises(ParamsError) as refused:
        sweep("lenet", workspace / "conf" / "sweep" / "cnn.yaml", 1)
    assert str(refused.value) == message
    assert not (workspace / "sweeps.db").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: {low: 0.1, high: 0.01}", "low must be at most high"),
        ("learning_rate: {low: 0, high: 0.1, log: true}", "low must be greater than 0 where log is true"),
        ("learning_rate: {low: small, high: 0.1}", "low and high must be numbers"),
        ("learning_rate: {low: 0.1, high: .inf}", "low and high must be numbers"),
        ("learning_rate: {low: 0.1, high: 1, log: 3}", "log must be true or false"),
        ("learning_rate: {choices: []}", "choices must be a list of values"),
        ("learning_rate: {choices: 3}", "choices must be a list of values"),
        ("learning_rate: {choices: abc}", "choices must be a list of values"),
        ("learning_rate: {choices: [1], low: 0, high: 1}", "allowed: {choices: "),
        ("learning_rate:\n\tlow: 3", "cannot start any token"),
        ("epochs: {choices: [1]}\nepochs: {choices: [2]}", "found duplicate key epochs"),
        ("# nothing", "names no param"),
        ("- 3", "names no param"),
    ],
)
def test_a_space_that_cannot_be_drawn_from_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError) as refused:
        _space.read(path)
    assert str(path) in str(refused.value)
    assert message in str(refused.value)


def test_a_number_may_have_an_exponent_without_a_point(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("rate: {low: 1e-5, high: 1e-1, log: true}\nalpha: {choices: [1e-5, 1e-4]}", "utf-8")
    ranges = _space.read(path)
    assert ranges == {"rate": {"low": 1e-5, "high": 0.1, "log": True}, "alpha": {"choices": [1e-5, 1e-4]}}
    assert 1e-5 <= _space.draw(optuna.create_study().ask(), "rate", ranges["rate"]) <= 0.1


@pytest.mark.parametrize("file", sorted((ROOT / "conf" / "sweep").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_choice_of_the_spaces_is_allowed_for_a_network(file: Path) -> None:
    values = params.load(ROOT / "params.yaml").models["lenet"].model_dump(mode="json")
    for key, about in _space.read(file).items():
        for value in about.get("choices", [about.get("low"), about.get("high")]):
            changed = copy.deepcopy(values)
            _space.put(changed, key, value)
            cnn.Params.model_validate(changed)
