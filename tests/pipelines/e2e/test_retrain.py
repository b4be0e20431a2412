"""Retraining on the real pipeline: a better model that a person approves becomes champion, no other."""

import subprocess
from functools import partial
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

    def changes(self, c: float) -> None:
        """Commit another classifier."""
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

    def retrains(self) -> dict[str, str]:
        """Report new data; returns the states of the run's tasks."""
        before = len(self._runs())
        asset = self.airflow.ask("GET", "assets?name_pattern=new-data")["assets"][0]["id"]
        self.airflow.ask("POST", "assets/events", {"asset_id": asset, "extra": {}})
        run = wait_until(lambda: self._runs()[before:], SECONDS_FOR_A_RUN, "retrain on new data")[0]
        assert run["state"] == "success"
        return self.airflow.states("retrain", run["dag_run_id"])

    def retrains_with(self, answer: str) -> str:
        """Retrain with a person's answer to the question before `promote`; returns the run."""
        run = self.airflow.trigger("retrain", approval=True)
        waiting = partial(self.airflow.states, "retrain", run)
        wait_until(lambda: waiting()["approve"] == "awaiting_input", SECONDS_FOR_A_RUN, "the question")
        assert waiting()["promote"] is None
        detail = f"dags/retrain/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"
        self.airflow.ask("PATCH", detail, {"chosen_options": [answer]})
        assert self.airflow.ended("retrain", run) == "success"
        assert self.airflow.states("retrain", run)["promote"] == "success"
        return run

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


def test_the_better_model_becomes_champion_if_a_person_approves_and_the_worse_does_not(
    own: tuple[Path, Airflow],
) -> None:
    shop = Shop(*own)
    shop.changes(c=1e-6)
    shop.retrains()
    assert shop.versions() == {"1": True}, "the first"
    shop.changes(c=0.1)
    rejected = shop.retrains_with("Reject")
    assert shop.versions() == {"1": True}, "better, and rejected: nothing is registered or moved"
    note = shop.airflow.run("retrain", rejected)["note"]
    assert "promote is rejected: it runs with promote.dry_run=true and changes nothing (admin)" in note
    assert "decision `would be promoted`" in note
    approved = shop.retrains_with("Approve")
    assert shop.versions() == {"1": False, "2": True}, "better, and approved"
    note = shop.airflow.run("retrain", approved)["note"]
    assert "promote is approved (admin)" in note
    assert "decision `promoted`" in note
    assert shop.airflow.states("retrain", approved)["train@hog_logistic"] == "skipped"
    shop.changes(c=1e-7)
    states = shop.retrains()
    assert (states["approve"], states["train@hog_logistic"], states["promote"]) == (
        "skipped",
        "success",
        "success",
    )
    assert shop.versions() == {"1": False, "2": True, "3": False}, "worse"
