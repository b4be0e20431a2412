"""The DAG clean_up lists what is old, and removes it where the form says so."""

import os
import time

import pytest

from tests.pipelines.conftest import Repository
from tests.pipelines.e2e.client import Airflow
from tests.pipelines.e2e.conftest import Local

pytestmark = pytest.mark.slow


def test_the_dag_lists_and_removes(airflow: Airflow, tiny: tuple[Repository, Local]) -> None:
    with pytest.raises(AssertionError, match=r"400.*days.*0 is less than the minimum of 1"):
        airflow.trigger("clean_up", days=0)
    old = tiny[0].root / ".convoy" / "failed" / "train-old"
    old.mkdir(parents=True)
    os.utime(old, (time.time() - 3 * 86_400,) * 2)
    run = airflow.trigger("clean_up", days=2)
    assert airflow.ended("clean_up", run) == "success"
    assert airflow.run("clean_up", run)["note"] == "found 1 leftovers of tasks, 0.0 MB"
    assert "outputs of failed stages" in airflow.log("clean_up", run, "clean_up")
    assert old.exists()
    run = airflow.trigger("clean_up", days=2, remove=True)
    assert airflow.ended("clean_up", run) == "success"
    assert airflow.run("clean_up", run)["note"] == "removed 1 leftovers of tasks, 0.0 MB"
    assert not old.exists()
