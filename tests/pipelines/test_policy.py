"""The hook by which a run has a priority and a pool; it runs in the scheduler, which its errors would end."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipelines.policy import airflow_local_settings as policy


@dataclass
class Task:
    """What the hook reads and writes of Airflow's task instance."""

    task_id: str = "train"
    dag_id: str = "train"
    operator: str = "RunStage"
    priority_weight: int = 7
    pool: str = "default_pool"
    pool_slots: int = 1


@dataclass
class Run:
    conf: dict[str, Any] | None = field(default_factory=dict)


def test_a_run_sets_priority_pool_and_slots_and_twice_is_once() -> None:
    task, run = Task(), Run({"priority": 3, "pool": "gpu", "gpus": 2})
    for _ in range(2):
        policy.task_instance_mutation_hook(task, run)
    assert (task.priority_weight, task.pool, task.pool_slots) == (3007, "gpu", 2)
    policy.task_instance_mutation_hook(task, Run({"gpus": 2, "nodes": 3}))
    assert task.pool_slots == 6, "a slot for each GPU of each process"
    ingest = Task("ingest")
    policy.task_instance_mutation_hook(ingest, run)
    assert (ingest.pool, ingest.pool_slots) == ("gpu", 1), "its image has no use for GPUs"


@pytest.mark.parametrize(
    ("task", "run"),
    [
        (Task(), None),
        (Task(), Run(None)),
        (Task(), Run({"priority": None, "pool": None, "gpus": None})),
        (Task("plan", operator="Plan"), Run({"pool": "gpu", "gpus": 2})),
        (Task(dag_id="other"), Run({"priority": "high", "pool": 3})),
        (Task("no_stage"), Run({"pool": "gpu"})),
    ],
)
def test_all_other_tasks_stay_as_they_are(task: Task, run: Run | None) -> None:
    policy.task_instance_mutation_hook(task, run)
    assert (task.priority_weight, task.pool, task.pool_slots) == (7, "default_pool", 1)


def test_a_stage_stays_in_the_pool_that_dvc_yaml_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = tmp_path / "dvc.yaml"
    monkeypatch.setattr(policy, "DVC_YAML", graph)
    graph.write_text("stages: {train: {cmd: x, meta: {pool: own, image: train}}}", encoding="utf-8")
    task = Task(pool="own")
    policy.task_instance_mutation_hook(task, Run({"pool": "gpu", "gpus": 4}))
    assert (task.pool, task.pool_slots) == ("own", 4)


def test_a_dvc_yaml_that_is_being_edited_does_not_end_the_scheduler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(policy, "DVC_YAML", tmp_path / "dvc.yaml")
    (tmp_path / "dvc.yaml").write_text("stages: {train: [", encoding="utf-8")
    policy.task_instance_mutation_hook(Task(), Run({"pool": "gpu"}))
    assert "skipped_pool task=train" in caplog.text
