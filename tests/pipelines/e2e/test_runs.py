"""The pipeline of seconds under a real Airflow: twelve members, refusals, schedules, a sweep, and murder."""

from datetime import datetime
from typing import Any

import pytest

from tests.pipelines.conftest import Repository
from tests.pipelines.e2e.client import Airflow, wait_until
from tests.pipelines.e2e.conftest import Local

pytestmark = pytest.mark.slow

NOTHING_TO_DO = "nothing to do: all 4 stages are cached"


def experiments(repository: Repository) -> list[str]:
    return repository.dvc("exp", "list", "--name-only").split()


def test_a_form_that_is_filled_wrongly_is_refused(airflow: Airflow) -> None:
    for field, value, says in [
        ("epochs", 0, "0 is less than the minimum of 1"),
        ("recipe", "smal", "'smal' is not one of"),
        ("overrides", ["base is 3"], "'base is 3' does not match"),
    ]:
        with pytest.raises(AssertionError, match=f"400.*{field}.*{says}"):
            airflow.trigger("train", **{field: value})


def test_params_that_the_stages_refuse_end_the_run_at_its_first_task(airflow: Airflow) -> None:
    run = airflow.trigger("train", overrides=["base=-1"])
    assert airflow.ended("train", run) == "failed"
    plan = next(one for one in airflow.tasks("train", run) if one.name == "plan")
    assert (plan.state, plan.tries) == ("failed", 1), "a second try would be refused as well"
    assert "params.yaml: base is -1; must be positive" in airflow.log("train", run, "plan")
    assert "params.yaml: base is -1; must be positive" in airflow.run("train", run)["note"]


def test_twelve_members_at_once(airflow: Airflow, tiny: tuple[Repository, Local]) -> None:
    run = airflow.trigger("train", recipe="dozen", overrides=["base=12"])
    assert airflow.ended("train", run) == "success"
    tasks = {one.address: one for one in airflow.tasks("train", run)}
    members = [one for one in tasks.values() if one.name == "train"]
    assert [one.tries for one in members] == [1] * 12, "none failed, not even once"
    assert {one.address for one in members} == {f"train@m{number:02}" for number in range(12)}
    times = [(one.started, one.ended) for one in members if one.started and one.ended]
    assert at_once(times) >= 6
    assert airflow.result("train", run, "record")["experiment"] in experiments(tiny[0])


def at_once(intervals: list[tuple[datetime, datetime]]) -> int:
    """How many of these overlapped at most."""
    return max(sum(start <= moment < end for start, end in intervals) for moment, _ in intervals)


def test_a_sweep_is_a_run_of_train_for_each_point(airflow: Airflow) -> None:
    run = airflow.trigger("sweep", grid=["base=21,22"])
    assert airflow.ended("sweep", run) == "success"
    shown = {one.member for one in airflow.tasks("sweep", run) if one.name == "run"}
    assert shown == {"base=21", "base=22"}
    for number in (1, 2):
        assert airflow.state("train", f"{run}-{number}") == "success"
        params = airflow.result("train", f"{run}-{number}", "plan")["params"]
        assert f"base: 2{number}" in params


def test_retrain_runs_by_the_clock_and_on_new_data(airflow: Airflow) -> None:
    first = wait_until(lambda: ended(airflow, "scheduled"), 300, "a run by the clock")[-1]
    assert first["state"] == "success"

    asset = airflow.ask("GET", "assets?name_pattern=new-data")["assets"][0]["id"]
    airflow.ask("POST", "assets/events", {"asset_id": asset, "extra": {"pictures": 3}})
    latest = wait_until(lambda: ended(airflow, "asset_triggered"), 300, "a run on the event")[0]
    assert latest["state"] == "success"
    states = airflow.states("retrain", latest["dag_run_id"])
    assert states.pop("plan") == "success"
    assert set(states.values()) == {"skipped"}, "nothing has changed since the run by the clock"
    assert NOTHING_TO_DO in airflow.result("retrain", latest["dag_run_id"], "plan")["reason"]


def ended(airflow: Airflow, kind: str) -> list[dict[str, Any]]:
    return [
        run
        for run in airflow.runs("retrain")
        if run["run_type"] == kind and run["state"] in ("success", "failed")
    ]


# Last, as it may leave Airflow on another port.
def test_what_is_killed_is_tried_again_and_resumes(tiny: tuple[Repository, Local], airflow: Airflow) -> None:
    repository, local = tiny
    run = airflow.trigger("train", overrides=["+models.*.waits=3600", "base=31"])
    for member in ("a", "b"):
        wait_until(
            lambda m=member: list(repository.root.glob(f".convoy/checkpoints/*/train@{m}/half")), 300, member
        )
    local.process("pipelines.worker", "CONVOY_STAGE=train@a").kill()
    wait_until(lambda: airflow.states("train", run)["train@a"] == "success", 300, "the second try of train@a")
    local.process("scheduler").kill()
    assert local.ended() == 1
    assert "scheduler ended with status -9" in local.said

    again = local.start()
    assert again.ended("train", run) == "success"
    tries = {one.address: one.tries for one in again.tasks("train", run)}
    assert (tries["train@a"], tries["train@b"], tries["judge"]) == (2, 2, 1)
