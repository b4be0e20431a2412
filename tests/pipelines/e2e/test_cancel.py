"""A cancelled training is over in MLflow as well."""

from pathlib import Path
from typing import Any

import pytest
import requests

from tests.pipelines.e2e.client import Airflow, wait_until

pytestmark = pytest.mark.slow

OVERRIDES = [
    "~models.minivggnet",
    "ensemble.members=[lenet,hog_logistic]",
    "models.lenet.train.patience=null",
]


def runs(airflow: Airflow) -> dict[str, str]:
    """The states of MLflow's runs by their names."""
    address = f"{airflow.mlflow}/api/2.0/mlflow"
    experiments = requests.post(f"{address}/experiments/search", json={"max_results": 100}, timeout=60).json()
    query: dict[str, Any] = {
        "experiment_ids": [experiment["experiment_id"] for experiment in experiments["experiments"]],
        "order_by": ["attributes.start_time DESC"],
    }
    answer = requests.post(f"{address}/runs/search", json=query, timeout=60).json()
    return {run["info"]["run_name"]: run["info"]["status"] for run in answer.get("runs", [])}


def test_a_cancelled_run_leaves_nothing_running_in_mlflow(own: tuple[Path, Airflow]) -> None:
    airflow = own[1]
    run = airflow.trigger("train", epochs=5000, seed=7, overrides=OVERRIDES)
    wait_until(lambda: "RUNNING" in runs(airflow).values(), 900, "the training in MLflow")
    wait_until(lambda: airflow.states("train", run).get("train@lenet") == "running", 900, "train@lenet")
    airflow.ask("PATCH", f"dags/train/dagRuns/{run}", {"state": "failed"})
    assert airflow.ended("train", run) == "failed"
    wait_until(lambda: "RUNNING" not in runs(airflow).values(), 120, f"the end of {runs(airflow)}")
    assert "KILLED" in runs(airflow).values()
