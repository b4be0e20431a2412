"""The view of an experiment in MLflow that shows what executions are compared by."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from stages import tracking
from stages.tracking import view
from stages.tracking.executions import PARENT


def saved_view(experiment: str) -> dict[str, Any]:
    """The experiment's view as MLflow's page reads it: a name, and a compressed state."""
    values = json.loads(MlflowClient().get_experiment_by_name(experiment).tags[view.TAG])
    text = base64.b64decode(values["state"].removeprefix("deflate;"))
    return {"name": values["name"], **json.loads(zlib.decompress(text))}


def test_the_view_has_headline_metrics_and_params_that_differed(
    tracked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, params in enumerate(({"epochs": "2"}, {"seed": "7"})):
        monkeypatch.setenv("CONVOY_RUN", f"execution {number}")
        with tracking.run("viewed", "evaluate", {"stage": "evaluate"}) as run:
            run.members({}, {"net.accuracy": 0.5, "net.ece": 0.1, "ensemble.accuracy": 0.6}, params)
    columns = [f"metrics.`ensemble.{key}`" for key in ("accuracy", "accuracy_low", "accuracy_high")]
    columns += ["metrics.`ensemble.log_loss`", "metrics.`ensemble.ece`", "metrics.`net.accuracy`"]
    shown = saved_view("viewed")
    assert shown["name"] == "Executions"
    assert shown["selectedColumns"] == [*columns, "params.`epochs`", "params.`seed`"]
    evaluation = MlflowClient().get_run(str(run.link["run_id"]))
    note = MlflowClient().get_run(evaluation.data.tags[PARENT]).data.tags["mlflow.note.content"]
    page = f"#/experiments/{evaluation.info.experiment_id}/runs?viewStateShareKey=executions"
    assert f"[all executions]({page})" in note


@pytest.mark.parametrize("value", ["", "{", '{"state": "deflate;no"}', '{"state": 1}', "[]"])
def test_a_view_that_cannot_be_read_is_replaced(tracked: Path, value: str) -> None:
    client = MlflowClient()
    experiment = client.create_experiment(f"spoilt {value}")
    client.set_experiment_tag(experiment, view.TAG, value)
    view.save(client, experiment, ["net.accuracy"], [], 1)
    assert saved_view(f"spoilt {value}")["selectedColumns"][0] == "metrics.`net.accuracy`"


def test_a_view_with_many_params_fits_into_a_tag(tracked: Path) -> None:
    client = MlflowClient()
    experiment = client.create_experiment("many params")
    params = [f"models.network_{number}.train.learning_rate" for number in range(500)]
    view.save(client, experiment, ["net.accuracy"], params, 1)
    assert len(saved_view("many params")["selectedColumns"]) == 60
