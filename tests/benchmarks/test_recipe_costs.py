"""One tick of the clock an epoch, so that what is counted shows and not how fast this machine is."""

from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import recipe_costs
from stages.report.pages import costs
from tests.paths import ROOT


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count()
    monkeypatch.setattr(recipe_costs, "time", SimpleNamespace(process_time=lambda: next(clock)))


@pytest.mark.slow
def test_a_training_costs_its_epochs_times_its_images(ticks: None) -> None:
    plain = recipe_costs.composed("minivggnet_flowers17")
    assert recipe_costs.cpu_seconds(plain) == 100 * 884 / 64


@pytest.mark.slow
@pytest.mark.usefixtures("operation_by_operation")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`")
def test_both_phases_of_fine_tuning_cost_their_epochs(ticks: None) -> None:
    params = recipe_costs.composed("finetune_flowers17")
    tuned = params.models["vgg16"]
    body = tuned.body.model_copy(update={"backbone": "MobileNetV2", "options": {"alpha": 0.35}})  # type: ignore[attr-defined]
    tune = tuned.fine_tune.model_copy(update={"unfreeze": 0.1})  # type: ignore[attr-defined]
    small = tuned.model_copy(update={"body": body, "fine_tune": tune})
    resize = params.resize.model_copy(update={"size": (32, 32)})
    params = params.model_copy(update={"models": {"vgg16": small}, "resize": resize})
    assert recipe_costs.cpu_seconds(params) == (25 + 100) * 884 / 64


@pytest.mark.slow
def test_features_cost_one_pass_over_all_images(ticks: None) -> None:
    assert recipe_costs.cpu_seconds(recipe_costs.composed("flowers17")) == 1_360 / 32


def test_a_recipe_with_a_result_is_printed_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, results = tmp_path / "costs.csv", tmp_path / "results.csv"
    monkeypatch.setattr(recipe_costs, "COSTS", path)
    monkeypatch.setattr(recipe_costs, "RESULTS", results)
    # Of two recipes alone: any other may have a result one day.
    recorded = (ROOT / "results" / "reproduction.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    with_results = ("recipe,", "minivggnet_cifar10_no_bn,", "minivggnet_flowers17,")
    results.write_text("".join(line for line in recorded if line.startswith(with_results)), encoding="utf-8")
    monkeypatch.setattr(recipe_costs, "cpu_seconds", lambda params: 2.0)
    costs.write(path, {"vgg16_animals": 0.5})
    recipe_costs.estimate(["resnet_cifar10_exp1", "minivggnet_flowers17"])
    assert "minivggnet_flowers17: 1 times minivggnet_cifar10_no_bn, 0.89 hours" in capsys.readouterr().out
    assert costs.read(path) == {"resnet_cifar10_exp1": 0.89, "vgg16_animals": 0.5}
