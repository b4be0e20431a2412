"""The pipeline of seconds under a real Airflow: refusals, schedules, members at once, a sweep, and kills.

In the order of the file, as Airflow's start and what the first run leaves in the cache are shared.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.conftest import Repository, has_ended
from tests.pipelines.e2e.client import ENDED, Airflow, wait_until
from tests.pipelines.e2e.conftest import AT_ONCE, MEMBERS, Local, Webhook

pytestmark = pytest.mark.slow


def experiments(repository: Repository) -> list[str]:
    return repository.dvc("exp", "list", "--name-only").split()


def checkpoints(repository: Repository, member: str) -> list[Path]:
    return list(repository.root.glob(f".convoy/checkpoints/*/train@{member}/half"))


def test_a_form_that_is_filled_wrongly_is_refused(airflow: Airflow) -> None:
    for field, value, says in [
        ("epochs", 0, "0 is less than the minimum of 1"),
        ("recipe", "smal", "'smal' is not one of"),
        ("overrides", ["base is 3"], "'base is 3' does not match"),
    ]:
        with pytest.raises(AssertionError, match=f"400.*{field}.*{says}"):
            airflow.trigger("train", **{field: value})


def test_params_that_the_stages_refuse_end_the_run_at_its_first_task(
    airflow: Airflow, webhook: Webhook
) -> None:
    run = airflow.trigger("train", overrides=["base=-1"])
    assert airflow.ended("train", run) == "failed"
    plan = next(task for task in airflow.tasks("train", run) if task.name == "plan")
    assert (plan.state, plan.tries) == ("failed", 1), "a second try would be refused as well"
    assert airflow.run("train", run)["note"] == "Failed: `plan: params.yaml: base is -1; must be positive`"
    assert "plan: params.yaml: base is -1; must be positive" in airflow.log("train", run, "plan")
    assert webhook.of_run(run)["failed"]["error"] == "plan: params.yaml: base is -1; must be positive"


def test_a_field_that_the_form_does_not_have_is_refused(airflow: Airflow) -> None:
    run = airflow.trigger("train", epoch=3)
    assert airflow.ended("train", run) == "failed"
    note = airflow.run("train", run)["note"]
    assert note.startswith("Failed: `plan: the form has no field epoch; did you mean epochs?")


def test_retrain_runs_by_the_clock_and_on_new_data(airflow: Airflow, tiny: tuple[Repository, Local]) -> None:
    first = wait_until(lambda: ended(airflow, "scheduled"), 600, "a run by the clock")[-1]
    assert first["state"] == "success"
    assert airflow.states("retrain", first["dag_run_id"])["train@a"] == "success"

    asset = airflow.ask("GET", "assets?name_pattern=new-data")["assets"][0]["id"]
    airflow.ask("POST", "assets/events", {"asset_id": asset, "extra": {"images": 3}})
    latest = wait_until(lambda: ended(airflow, "asset_triggered"), 600, "a run on the event")[0]

    (tiny[0].shared / "images" / "new.png").touch()
    wait_until(lambda: len(ended(airflow, "asset_triggered")) > 1, 600, "a run on the new file")
    event = airflow.ask("GET", "assets/events?order_by=-timestamp")["asset_events"][0]
    assert event["extra"]["payload"]["files"] == 1, event
    # The clock has been shown, and would take time from the other tests.
    airflow.ask("PATCH", "dags/retrain", {"is_paused": True})
    assert latest["state"] == "success"
    states = airflow.states("retrain", latest["dag_run_id"])
    assert states.pop("plan") == "success"
    assert set(states.values()) == {"skipped"}, "nothing has changed since the run by the clock"
    assert latest["note"].startswith("Plan: nothing to do: all 4 stages are cached")


def ended(airflow: Airflow, kind: str) -> list[dict[str, Any]]:
    return [run for run in airflow.runs("retrain") if run["run_type"] == kind and run["state"] in ENDED]


def test_many_members_at_once(
    airflow: Airflow,
    tiny: tuple[Repository, Local],
    webhook: Webhook,
    record_property: Callable[[str, object], None],
) -> None:
    run = airflow.trigger("train", recipe="many")
    assert airflow.ended("train", run, seconds=300 + 30 * MEMBERS) == "success"
    tasks = airflow.tasks("train", run)
    members = [task for task in tasks if task.name == "train"]
    assert {task.address: task.tries for task in members} == {f"train@m{n}": 1 for n in range(MEMBERS)}
    begun, over = ([getattr(task, when) for task in members] for when in ("started", "ended"))
    seconds = sorted((end - start).total_seconds() for start, end in zip(begun, over, strict=True))
    all_seconds = (max(over) - min(begun)).total_seconds()
    # In the file of `pytest --junitxml`.
    record_property("seconds of all members", round(all_seconds))
    record_property("seconds of a member's task", seconds[MEMBERS // 2])
    latest_begun = sorted(begun)[: min(MEMBERS, AT_ONCE)][-1]
    assert latest_begun < min(over), "the first ones at the same time"
    assert next(task.state for task in tasks if task.name == "first") == "skipped"
    reason = re.search("first: (ran before|unchanged)", airflow.log("train", run, "first"))
    assert reason, "the reason is in the log"
    recorded = airflow.result("train", run, "record")
    assert recorded["experiment"] in experiments(tiny[0])
    messages = webhook.of_run(run)
    assert messages["succeeded"]["experiment"] == recorded["experiment"]
    assert (messages["started"]["task"], messages["started"]["greeting"]) == ("judge", "none")


def test_a_sweep_is_a_run_of_train_for_each_point(airflow: Airflow) -> None:
    run = airflow.trigger("sweep", grid=["models.a.train.epochs=2,3"], rank_by="-base")
    assert airflow.ended("sweep", run) == "success"
    members = {task.member for task in airflow.tasks("sweep", run) if task.name == "run"}
    assert members == {"models.a.train.epochs=2", "models.a.train.epochs=3"}
    # What the points have in common is trained once: the first is what retrain has run.
    points = [airflow.states("train", f"{run}-{number}") for number in (1, 2)]
    assert points[0].pop("plan") == "success"
    assert set(points[0].values()) == {"skipped"}, "nothing to do"
    assert (points[1]["train@a"], points[1]["train@b"]) == ("success", "skipped")
    ranked = airflow.result("sweep", run, "table")
    assert {(point["name"], point["score"]) for point in ranked} == {(name, 1.0) for name in members}
    assert "models.a.train.epochs=3" in airflow.run("sweep", run)["note"]


def test_a_failed_point_of_a_sweep_can_be_repeated(airflow: Airflow) -> None:
    run = airflow.trigger("sweep", grid=["recipe=small,large"], rank_by="-base", pool="later")
    assert airflow.ended("sweep", run) == "failed"
    tries = [task.tries for task in airflow.tasks("sweep", run) if task.name == "run"]
    assert tries == [1, 1], "the tasks of a point are tried again, not the point"
    airflow.ask("POST", "pools", {"name": "later", "slots": 2})
    again = {"dag_run_id": run, "only_failed": True, "dry_run": False}
    airflow.ask("POST", "dags/sweep/clearTaskInstances", again)
    assert airflow.ended("sweep", run) == "success"
    assert len(airflow.result("sweep", run, "table")) == 2


# Last, as it may leave Airflow on another port.
def test_what_is_killed_is_tried_again_and_resumes(tiny: tuple[Repository, Local], airflow: Airflow) -> None:
    repository, local = tiny
    # Without its checkpoint, a member would wait for an hour.
    run = airflow.trigger("train", overrides=["+models.a.waits=3600", "+models.b.waits=3600"])
    for member in ("a", "b"):
        wait_until(partial(checkpoints, repository, member), 300, f"the training of {member}")
    local.process("pipelines.worker", "CONVOY_STAGE=train@a").kill()
    wait_until(
        lambda: airflow.states("train", run).get("train@a") == "success", 300, "the second try of train@a"
    )
    pid = local.process("pipelines.worker", "CONVOY_STAGE=train@b").pid
    local.process("scheduler").kill()
    assert local.ended() == 1
    assert "scheduler ended with status -9" in local.output
    assert has_ended(pid), "two of one training would spoil its checkpoint"

    again = local.start()
    assert again.ended("train", run) == "success"
    tries = {task.address: task.tries for task in again.tasks("train", run)}
    assert (tries["train@a"], tries["train@b"], tries["judge"]) == (2, 2, 1)
