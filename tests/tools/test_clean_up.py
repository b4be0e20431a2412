"""Old runs of MLflow are listed, deleted and purged; those that a version needs, or that go on, stay."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from stages import cli
from stages.data import results_store
from stages.serving.lease import Lease
from stages.tools.clean_up import clean_up
from stages.tracking import executions
from stages.tracking.executions import DVC_STAGE, EXECUTION, PARENT, PROCESS

pytestmark = pytest.mark.slow

OLD = int((time.time() - 40 * 86_400) * 1000)
DEAD = "another-machine pid:[1] 7 7"


class Runs:
    """Runs made as tracking makes them, at a time of the test's choice."""

    def __init__(self) -> None:
        self.client = MlflowClient()
        self.experiment = self.client.create_experiment(f"cleaned {time.time_ns()}")

    def add(self, status: str, parent: str = "", at: int = OLD, process: str | None = DEAD) -> str:
        tags = {DVC_STAGE: "train@lenet", PROCESS: process} if process is not None else {"phase": "phase 1"}
        tags |= {PARENT: parent} if parent else {EXECUTION: f"run-{time.time_ns()}"}
        run_id = str(self.client.create_run(self.experiment, at, tags).info.run_id)
        if status != "RUNNING":
            self.client.set_terminated(run_id, status, at)
        return run_id

    def active(self) -> set[str]:
        return {run.info.run_id for run in self.client.search_runs([self.experiment], max_results=1000)}

    def deleted(self) -> set[str]:
        runs = self.client.search_runs([self.experiment], "", ViewType.DELETED_ONLY)
        return {run.info.run_id for run in runs}


@pytest.fixture
def runs(tracked: Path) -> Runs:
    return Runs()


def test_unfinished_runs_are_deleted_and_those_that_go_on_stay(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = runs.add("FINISHED")
    cancelled = runs.add("KILLED")
    gone = {cancelled, runs.add("RUNNING", cancelled), runs.add("FAILED", finished)}
    gone |= {runs.add("FINISHED", process=None, parent=cancelled)}
    partly = runs.add("KILLED")
    stay = {finished, partly, runs.add("FINISHED", partly)}
    stay |= {runs.add("KILLED", at=int(time.time() * 1000))}
    stay |= {runs.add("RUNNING", process=executions.process_identity(os.getpid()))}
    training = runs.add("RUNNING")
    runs.client.log_metric(training, "loss", 0.5)
    by_hand = str(runs.client.create_run(runs.experiment, OLD, {"mlflow.user": "a person"}).info.run_id)
    lease = Lease(runs.client, "cleaned")
    with lease.held():
        pass
    stay |= {training, by_hand}

    cli.main(clean_up, [])
    assert "unfinished runs of MLflow                 3" in capsys.readouterr().out
    assert runs.active() == stay | gone, "without --remove, it lists"
    cli.main(clean_up, ["--remove"])
    assert (runs.active(), runs.deleted()) == (stay, gone)
    experiment = runs.client.get_experiment_by_name("promotion lease: cleaned")
    assert experiment is not None
    assert runs.client.search_runs([experiment.experiment_id])


def test_what_a_registered_version_needs_stays(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    parent, member = runs.add("KILLED"), runs.add("KILLED")
    promotion = runs.add("FAILED", parent)
    runs.client.set_tag(parent, "run.lenet", member)
    runs.client.create_registered_model("shop")
    runs.client.create_model_version("shop", "file:///nowhere", promotion)
    runs.client.set_registered_model_alias("shop", "champion", "1")
    sibling, other = runs.add("KILLED", parent), runs.add("KILLED")
    cli.main(clean_up, ["--remove"])
    assert runs.active() == {parent, member, promotion, sibling}
    assert runs.deleted() == {other}

    # A person has deleted it all the same: a purge would take it for good.
    runs.client.delete_run(promotion)
    aged(runs, promotion, other)
    capsys.readouterr()
    cli.main(clean_up, ["--remove"])
    assert f"they stay; registered versions need {promotion}" in capsys.readouterr().out
    assert runs.deleted() == {other, promotion}
    runs.client.restore_run(promotion)


def aged(runs: Runs, *deleted: str) -> None:
    """As if the runs had been deleted 40 days ago."""
    path = os.environ["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection, connection:
        for run_id in deleted:
            connection.execute("UPDATE runs SET deleted_time = ? WHERE run_uuid = ?", (OLD, run_id))


def test_runs_deleted_long_ago_are_purged_with_their_artifacts(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    old, recent = runs.add("FINISHED"), runs.add("FINISHED")
    for run_id in (old, recent):
        runs.client.log_text(run_id, "x" * 2_000_000, "log.txt")
        runs.client.delete_run(run_id)
    folder = Path(runs.client.get_run(old).info.artifact_uri.removeprefix("file://"))
    aged(runs, old)
    cli.main(clean_up, [])
    # Another is that of the test above.
    assert "runs deleted over 30 days ago             2     2.0 MB" in capsys.readouterr().out
    assert folder.exists()
    cli.main(clean_up, ["--remove"])
    assert runs.deleted() == {recent}
    assert not folder.exists()


def test_image_results_that_no_run_used_are_removed(
    tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(results_store.FOLDER_VARIABLE, str(tmp_path))
    for kind in ("facts", "resized"):
        with results_store.opened(kind, {}) as results:
            results.add("ab" * 32, np.zeros(2_000_000, np.uint8))
    (path,) = tmp_path.glob("facts-*/*.h5")
    os.utime(path, (OLD / 1000, OLD / 1000))
    cli.main(clean_up, ["--remove", "--days", "39"])
    assert "files of image results                    1     2.0 MB" in capsys.readouterr().out
    assert [file.parent.name.partition("-")[0] for file in tmp_path.rglob("*.h5")] == ["resized"]


def test_an_age_of_no_day_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(clean_up, ["--days", "0"])
    assert "--days is 0; must be at least 1" in capsys.readouterr().err
