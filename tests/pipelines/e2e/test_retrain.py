"""Retraining on the real pipeline: a better model becomes champion, a worse one does not."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipelines.e2e.client import ENDED, Airflow, wait_until
from tests.pipelines.e2e.mlflow import Mlflow

pytestmark = pytest.mark.slow

MODEL = "shop"
SECONDS_FOR_A_RUN = 900


class Shop:
    """The digits with one classifier that fits in a second; how well depends on its regularization."""

    def __init__(self, repository: Path, airflow: Airflow) -> None:
        self.repository, self.airflow = repository, airflow

    def retrains(self, c: float) -> dict[str, str]:
        """Commit a change, report new data; returns the states of the run's tasks."""
        recipe = self.repository / "conf" / "recipe" / "digits.yaml"
        values = yaml.safe_load(recipe.read_text(encoding="utf-8"))
        values["defaults"] = [
            {"/extractor@extractors.hog": "hog"},
            {"/model@models.hog_logistic": "logistic_regression"},
            {"override /dataset": "digits"},
            "_self_",
        ]
        values["models"] = {"hog_logistic": {"input": "features/hog", "c": [c]}}
        values["ensemble"] = {"members": ["hog_logistic"]}
        values["recipe"] = MODEL
        recipe.write_text("# @package _global_\n" + yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run([*git, "commit", "--quiet", "--all", "-m", f"c {c}"], cwd=self.repository, check=True)

        before = len(self._runs())
        asset = self.airflow.ask("GET", "assets?name_pattern=new-data")["assets"][0]["id"]
        self.airflow.ask("POST", "assets/events", {"asset_id": asset, "extra": {}})
        run = wait_until(lambda: self._runs()[before:], SECONDS_FOR_A_RUN, "retrain on new data")[0]
        assert run["state"] == "success"
        return self.airflow.states("retrain", run["dag_run_id"])

    def _runs(self) -> list[dict[str, Any]]:
        """Those that ended, the oldest first."""
        return [run for run in reversed(self.airflow.runs("retrain")) if run["state"] in ENDED]

    def versions(self) -> dict[str, bool]:
        """By each registered version, whether it is the champion."""
        registered = Mlflow(self.airflow.mlflow).ask(f"registered-models/get?name={MODEL}")[
            "registered_model"
        ]
        (alias,) = registered["aliases"]
        assert alias["alias"] == "champion"
        count = int(registered["latest_versions"][0]["version"])
        return {str(number): str(number) == alias["version"] for number in range(1, count + 1)}


def test_the_better_model_becomes_champion_and_the_worse_does_not(own: tuple[Path, Airflow]) -> None:
    shop = Shop(*own)
    shop.retrains(c=1e-6)
    assert shop.versions() == {"1": True}, "the first"
    states = shop.retrains(c=0.1)
    assert (states["train@hog_logistic"], states["promote"]) == ("success", "success")
    assert shop.versions() == {"1": False, "2": True}, "better"
    states = shop.retrains(c=1e-7)
    assert (states["train@hog_logistic"], states["promote"]) == ("success", "success")
    assert shop.versions() == {"1": False, "2": True, "3": False}, "worse"
