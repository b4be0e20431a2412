"""A run of the real pipeline that is cancelled during a training leaves nothing RUNNING in MLflow.

Before test_retrain.py, which changes the recipe; the data stages are in the cache from then on.
"""

from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.pipelines.e2e.client import Airflow, wait_until
from tests.pipelines.e2e.mlflow import Mlflow

pytestmark = pytest.mark.slow

# One network beside a classifier of seconds: each more is half a minute of a core.
MEMBERS = ("lenet",)
OVERRIDES = ["~models.minivggnet", "ensemble.members=[lenet,hog_logistic]"]
ENDED = {"KILLED", "FAILED"}


def test_a_cancelled_run_and_its_members_end_in_mlflow(own: tuple[Path, Airflow]) -> None:
    root, airflow = own
    mlflow = Mlflow(airflow.mlflow)
    run = airflow.trigger("train", "cancelled", recipe="digits", epochs=1000, overrides=OVERRIDES)
    name = f"train-{run}"

    def runs() -> dict[str, dict[str, Any]]:
        """MLflow's parent run, and each run below it by its name."""
        by_name: dict[str, dict[str, Any]] = {}
        for parent in mlflow.runs(f"tags.`convoy.run` = '{name}'"):
            below = mlflow.runs(f"tags.`mlflow.parentRunId` = '{parent['info']['run_id']}'")
            by_name |= {"parent": parent} | {child["info"]["run_name"]: child for child in below}
        return by_name

    def statuses() -> dict[str, str]:
        return {run_name: values["info"]["status"] for run_name, values in runs().items()}

    def are_training() -> bool:
        metrics = [runs().get(member, {}).get("data", {}).get("metrics", []) for member in MEMBERS]
        return all("val_loss" in {metric["key"] for metric in values} for values in metrics)

    wait_until(are_training, 900, "an epoch of the network")
    assert statuses()["parent"] == "RUNNING"
    airflow.ask("PATCH", f"dags/train/dagRuns/{run}", {"state": "failed"})
    wait_until(lambda: "RUNNING" not in statuses().values(), 120, "the end of all runs in MLflow")
    ended = statuses()
    assert {ended[member] for member in ("parent", *MEMBERS)} <= ENDED, ended

    def processes() -> list[str]:
        work = str(root / ".convoy" / "work")
        return [
            " ".join(process.info["cmdline"] or [])
            for process in psutil.process_iter(["cwd", "cmdline"])
            if str(process.info["cwd"]).startswith(work)
        ]

    wait_until(lambda: not processes(), 60, "the end of the run's processes")
    # A clone may stay: Airflow kills a worker some seconds after it asked it to stop. A clean-up removes it.
    checkpoints = {path.parent.parent.name for path in root.glob(f".convoy/checkpoints/{name}/*/*/last.npz")}
    assert checkpoints == {f"train@{member}" for member in MEMBERS}, "where a person's Clear resumes"
