"""What a person chooses in the trigger form: forced stages, approval, priority, pool; and a backfill."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest
from referencing import Registry, Resource

from tests.pipelines.conftest import Repository
from tests.pipelines.e2e.client import ENDED, Airflow, wait_until
from tests.pipelines.e2e.conftest import LINEAGE, Local, Webhook

pytestmark = pytest.mark.slow

STAGES = ("first", "train", "judge")
# What OpenLineage's specification 2-0-2 requires of an event and of each facet; used where the folder that
# CONVOY_TEST_OPENLINEAGE names has no copy of the specification's folder `spec`.
FACETS = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "required": ["_producer", "_schemaURL"],
        "properties": {
            "_producer": {"type": "string", "format": "uri"},
            "_schemaURL": {"type": "string", "format": "uri"},
        },
    },
}
NAMED: dict[str, Any] = {
    "type": "object",
    "required": ["namespace", "name"],
    "properties": {
        "namespace": {"type": "string"},
        "name": {"type": "string"},
        "facets": FACETS,
        "inputFacets": FACETS,
        "outputFacets": FACETS,
    },
}
EVENT = {
    "type": "object",
    "required": ["eventTime", "producer", "schemaURL", "run", "job"],
    "properties": {
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "eventTime": {"type": "string", "format": "date-time"},
        "producer": {"type": "string", "format": "uri"},
        "schemaURL": {"type": "string", "format": "uri"},
        "run": {
            "type": "object",
            "required": ["runId"],
            "properties": {"runId": {"type": "string", "format": "uuid"}, "facets": FACETS},
        },
        "job": NAMED,
        "inputs": {"type": "array", "items": NAMED},
        "outputs": {"type": "array", "items": NAMED},
    },
}


@pytest.fixture(scope="module", autouse=True)
def paused_clock(tiny: tuple[Repository, Local]) -> None:
    """Runs of retrain by the clock would take time from these tests."""
    tiny[1].running().ask("PATCH", "dags/retrain", {"is_paused": True})


@pytest.fixture(scope="module")
def complete(tiny: tuple[Repository, Local]) -> str:
    """A run whose form asks for nothing but its params."""
    airflow = tiny[1].running()
    run = airflow.trigger("train", overrides=["base=60"])
    assert airflow.ended("train", run) == "success"
    return run


def tasks_of(airflow: Airflow, run: str) -> dict[str, dict[str, Any]]:
    """What Airflow says of each task, by name; of a mapped one, of its first member."""
    tasks = airflow.ask("GET", f"dags/train/dagRuns/{run}/taskInstances?limit=500")["task_instances"]
    return {task["task_id"]: task for task in tasks if task["map_index"] <= 0}


def test_a_run_waits_for_nobody_unless_its_form_says_so(airflow: Airflow, complete: str) -> None:
    states = airflow.states("train", complete)
    assert states.pop("approve") == "skipped"
    assert set(states.values()) == {"success"}
    reason = "approve: this run's form asks for no approval"
    assert airflow.note("train", complete, "approve") == f"Skipped: `{reason}`"
    assert f"skipped_stage reason={reason}" in airflow.open_log("train", complete, "approve")


def test_events_of_a_stages_asset_have_digests_and_counts(airflow: Airflow, complete: str) -> None:
    asset = airflow.ask("GET", "assets?name_pattern=convoy-train")["assets"][0]["id"]
    events = airflow.ask("GET", f"assets/events?asset_id={asset}&limit=200")["asset_events"]
    extras = {
        event["extra"]["stage"]: event["extra"] for event in events if event["source_run_id"] == complete
    }
    assert set(extras) == {"train@a", "train@b"}
    (output,) = extras["train@a"]["outputs"].values()
    assert len(output["digest"]) == 32
    assert (output["files"], output["bytes"]) == (
        1,
        len('{"base": 60, "rejected": false, "train": {"epochs": 2}}'),
    )
    assert extras["train@a"]["event"] == {"event": "started", "greeting": "none", "config": "small"}
    assert extras["train@a"]["commit"] == airflow.result("train", complete, "plan")["commit"]


def test_the_events_of_a_stage_are_in_the_runs_note(airflow: Airflow, complete: str) -> None:
    assert "**judge**: started, greeting `none`, config `small`" in airflow.run("train", complete)["note"]


def test_openlineage_gets_inputs_and_outputs(
    airflow: Airflow, complete: str, tiny: tuple[Repository, Local]
) -> None:
    if not LINEAGE:
        pytest.skip("CONVOY_TEST_OPENLINEAGE names no folder with apache-airflow-providers-openlineage")
    path = tiny[0].shared / "lineage.jsonl"
    # Sent after the task has ended.
    wait_until(lambda: path.exists() and '"COMPLETE"' in path.read_text(encoding="utf-8"), 60, "events")
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    by_address = specification()
    for event in events:
        _check(event, by_address.get(str(event["schemaURL"]).partition("#")[0], EVENT), by_address)
        for facet in _facets(event):
            if schema := by_address.get(str(facet["_schemaURL"]).partition("#")[0]):
                definition = {"$ref": f"{schema['$id']}#{facet['_schemaURL'].partition('#')[2]}"}
                _check(facet, definition, by_address)
    judged = [
        event
        for event in events
        if (event["job"]["name"], event["eventType"]) == ("train.judge", "COMPLETE") and event["outputs"]
    ]
    assert {data["name"] for data in judged[-1]["inputs"]} == {"out/train"}
    (output,) = judged[-1]["outputs"]
    assert (output["namespace"], output["name"]) == (str(tiny[0].root), "out/judge.json")
    assert len(output["facets"]["version"]["datasetVersion"]) == 32
    assert output["outputFacets"]["outputStatistics"]["fileCount"] == 1


def specification() -> dict[str, dict[str, Any]]:
    """OpenLineage's schemas by their address, where the folder with its provider has them in `spec`."""
    texts = [path.read_text(encoding="utf-8") for path in Path(LINEAGE, "spec").rglob("*.json")]
    return {schema["$id"]: schema for schema in map(json.loads, texts) if "$id" in schema}


def _check(value: Any, schema: dict[str, Any], by_address: dict[str, dict[str, Any]]) -> None:
    resources = [(address, Resource.from_contents(content)) for address, content in by_address.items()]
    registry: Registry[Any] = Registry().with_resources(resources)
    jsonschema.Draft202012Validator(
        schema, registry=registry, format_checker=jsonschema.FormatChecker()
    ).validate(value)


def _facets(event: dict[str, Any]) -> list[dict[str, Any]]:
    """All facets of an event."""
    named = [event["run"], event["job"], *event.get("inputs", []), *event.get("outputs", [])]
    kinds = ("facets", "inputFacets", "outputFacets")
    return [facet for item in named for kind in kinds for facet in (item.get(kind) or {}).values()]


def test_a_forced_stage_runs_although_nothing_changed(airflow: Airflow, complete: str) -> None:
    run = airflow.trigger("train", overrides=["base=60"])
    assert airflow.ended("train", run) == "success"
    states = airflow.states("train", run)
    assert (states.pop("plan"), set(states.values())) == ("success", {"skipped"}), "nothing changed"

    run = airflow.trigger("train", overrides=["base=60"], force=["train@a"])
    assert airflow.ended("train", run) == "success"
    states = airflow.states("train", run)
    assert [states[name] for name in ("first", "train@a", "train@b")] == ["skipped", "success", "skipped"]
    assert states["judge"] == "skipped", "it got the same input again"
    note = airflow.run("train", run)["note"]
    assert "Plan: 1 of 4 stages will run" in note
    assert "- **train@a**: `forced (" in note
    again = airflow.trigger("train", overrides=["base=60"], force=["paint"])
    assert airflow.ended("train", again) == "failed"
    reason = "plan: the run has no stage paint to force; it has first, train@a, train@b, judge"
    assert airflow.run("train", again)["note"] == f"Failed: `{reason}`"
    assert airflow.note("train", again, "plan") == f"Failed: `{reason}`"
    assert reason in airflow.open_log("train", again, "plan")


@contextmanager
def held(process: psutil.Process) -> Iterator[None]:
    """A process does nothing during the block."""
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@pytest.mark.parametrize("answer", ["Approve", "Reject"])
def test_a_person_decides_before_the_stage_runs(
    airflow: Airflow, webhook: Webhook, tiny: tuple[Repository, Local], answer: str
) -> None:
    run = airflow.trigger("train", overrides=[f"models.b.c={len(answer)}"], approval=True)
    states = ("running", "awaiting_input")
    wait_until(lambda: airflow.states("train", run).get("approve") in states, 300, "the question")
    # The answer comes before the scheduler has heard that the task's process has ended: it tries it again.
    with held(tiny[1].process("scheduler")):
        wait_until(lambda: airflow.states("train", run)["approve"] == "awaiting_input", 60, "the question")
        log = tiny[0].root / ".convoy" / "airflow" / "logs" / "scheduler.log"
        over = re.compile(rf"Workload finished.*workload_id={tasks_of(airflow, run)['approve']['id']}")
        wait_until(lambda: over.search(log.read_text(encoding="utf-8")), 60, "the end of the process")
        _answers(airflow, webhook, run, answer)
    assert airflow.ended("train", run) == "success"
    approved = answer == "Approve"
    assert airflow.result("train", run, "approve")["approved"] is approved
    # The rest of the run goes on with the param that keeps the stage from changing anything.
    assert airflow.result("train", run, "judge")["metrics"]["rejected"] is not approved
    assert airflow.states("train", run)["record"] == "success"
    reason = "judge is approved (admin)"
    if not approved:
        reason = "judge is rejected: it runs with rejected=true and changes nothing (admin)"
    assert f"Approval: `{reason}`" in airflow.run("train", run)["note"]
    assert airflow.note("train", run, "approve").startswith(f"`{reason}`")
    message = webhook.of_run(run)["approved_stage" if approved else "rejected_stage"]
    assert (message["by"], message["stage"]) == ("admin", "judge")


def _answers(airflow: Airflow, webhook: Webhook, run: str, answer: str) -> None:
    """Look at the question of a run, and answer it."""
    assert airflow.states("train", run)["judge"] is None
    pool = airflow.ask("GET", "pools/default_pool")
    assert (pool["occupied_slots"], pool["deferred_slots"]) == (0, 0), "who waits takes no slot"
    page = f"/dags/train/runs/{run}/tasks/approve/required_actions"
    assert f"Waits for approval of judge: [answer]({airflow.url}{page})" in airflow.run("train", run)["note"]
    assert webhook.of_run(run)["awaited_approval"]["answer"] == f"{airflow.url}{page}"

    detail = f"dags/train/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"
    airflow.ask("PATCH", detail, {"chosen_options": [answer]})


def test_a_run_has_a_priority_and_a_pool(airflow: Airflow, complete: str) -> None:
    run = airflow.trigger("train", overrides=["base=60"], force=["judge"], priority=7, pool="small")
    assert airflow.ended("train", run) == "failed"
    note = airflow.run("train", run)["note"]
    assert note.startswith("Failed: `plan: Airflow has no pool small; create it on the page Admin, Pools")

    airflow.ask("POST", "pools", {"name": "closed", "slots": 0})
    run = airflow.trigger("train", overrides=["base=60"], pool="closed")
    assert airflow.ended("train", run) == "failed"
    assert "Airflow's pool closed has 0: choose fewer nodes" in airflow.run("train", run)["note"]

    airflow.ask("POST", "pools", {"name": "small", "slots": 1})
    run = airflow.trigger("train", overrides=["base=60"], force=["judge"], priority=7, pool="small")
    assert airflow.ended("train", run) == "success"
    tasks, usual = tasks_of(airflow, run), tasks_of(airflow, complete)
    pools = {name: task["pool"] for name, task in tasks.items()}
    assert {name for name, pool in pools.items() if pool == "small"} == set(STAGES)
    for name, task in tasks.items():
        assert task["priority_weight"] == 7000 + usual[name]["priority_weight"], name


def test_gpus_are_refused_where_a_stage_sees_all_of_the_host(airflow: Airflow) -> None:
    run = airflow.trigger("train", gpus=1)
    assert airflow.ended("train", run) == "failed"
    assert "gpus is for the runners docker and kubernetes" in airflow.run("train", run)["note"]


def test_a_stages_refusal_is_in_its_log_and_in_both_notes(airflow: Airflow) -> None:
    run = airflow.trigger("train", overrides=["+models.a.fails=1"])
    assert airflow.ended("train", run) == "failed"
    reason = 'train@a: the member is set to "fail"'
    assert f"Failed: `{reason}" in airflow.run("train", run)["note"]
    assert airflow.note("train", run, "train", 0).startswith(f"Failed: `{reason}")
    assert reason in airflow.open_log("train", run, "train", 0)


def test_a_backfill_runs_nothing(airflow: Airflow) -> None:
    def backfilled() -> list[dict[str, Any]]:
        runs = [run for run in airflow.runs("retrain") if run["run_type"] == "backfill"]
        return [run for run in runs if run["state"] in ENDED]

    until = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=1)
    dates = {"from_date": (until - timedelta(minutes=2)).isoformat(), "to_date": until.isoformat()}
    airflow.ask("PATCH", "dags/retrain", {"is_paused": False})
    airflow.ask("POST", "backfills", {"dag_id": "retrain", **dates, "max_active_runs": 3})
    runs = wait_until(lambda: len(backfilled()) == 3 and backfilled(), 600, "three runs")
    airflow.ask("PATCH", "dags/retrain", {"is_paused": True})
    for run in runs:
        states = airflow.states("retrain", run["dag_run_id"])
        assert (states.pop("plan"), set(states.values())) == ("success", {"skipped"})
        assert run["note"].startswith("Skipped: `a backfill has nothing to do")
