"""Stages as Airflow tasks: plan → one task per stage, and per member of a foreach stage → record."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import yaml
from airflow.sdk import get_current_context, task, task_group

from pipelines import alerts
from pipelines.approval import Approve
from pipelines.graph import Stage
from pipelines.operators import APPROVE, PLAN, RECORD, Plan, Record, RunStage

# For all tasks. A permanent error is not retried, whatever these say.
DEFAULTS = {
    "retries": 2,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
    # A task that was skipped because it had nothing to do does not hold up those after it.
    "trigger_rule": "none_failed",
    "on_failure_callback": alerts.on_failure,
}


def add_tasks(stages: Mapping[str, Stage]) -> None:
    """Add plan, stages and record to the DAG whose `with` block is open.

    Args:
        stages: The graph, as `graph.load` returns it.
    """
    plan = Plan(
        task_id=PLAN,
        execution_timeout=timedelta(hours=1),
        doc_md="Composes and checks the params; says for each stage whether it will run, and why.",
    )
    tasks: dict[str, Any] = {}
    for group in _groups(stages):
        if stages[group[0]].members is None:
            tasks[group[0]] = _task(stages[group[0]])
        else:
            tasks |= _for_each_member([stages[name] for name in group], plan)
    record = Record(
        task_id=RECORD,
        execution_timeout=timedelta(hours=1),
        doc_md="Proves that the cache has the whole run; saves it as a DVC experiment; links it with MLflow.",
    )
    for name, stage_task in tasks.items():
        upstream = [tasks[other] for other in sorted(stages[name].upstream)] or [plan]
        if param := stages[name].settings.approval:
            approve = Approve(
                task_id=APPROVE,
                stage=name,
                param=param,
                doc_md=f"Waits for a person before {name}, where the run's form asks for an approval.",
            )
            approve.set_upstream(upstream)
            upstream = [approve]
        stage_task.set_upstream(upstream)
    followed = {other for stage in stages.values() for other in stage.upstream}
    record.set_upstream([stage_task for name, stage_task in tasks.items() if name not in followed])


def _task(stage: Stage, **options: Any) -> RunStage:
    settings = stage.settings
    return RunStage(
        task_id=stage.name,
        stage=stage.name,
        settings=settings,
        pool=settings.pool,
        pool_slots=settings.slots,
        retries=settings.retries,
        execution_timeout=timedelta(minutes=settings.timeout),
        doc_md=stage.description,
        **options,
    )


def _for_each_member(stages: list[Stage], plan: Plan) -> dict[str, RunStage]:
    """Map a group of stages over the run's members: within the group a member waits for no other member."""
    tasks: dict[str, RunStage] = {}
    group = "_".join(stage.name for stage in stages)

    # Airflow maps over what a task returns, not over a part of it.
    @task(task_id=f"members_of_{group}", doc_md="The members that this run's params name.")
    def members() -> list[str]:
        params = yaml.safe_load(get_current_context()["ti"].xcom_pull(task_ids=PLAN)["params"])
        return [address.partition("@")[2] for address in stages[0].addresses(params)]

    @task_group(group_id=f"{group}_each", prefix_group_id=False)
    def each(member: str) -> None:
        for stage in stages:
            tasks[stage.name] = _task(stage, member=member, map_index_template="{{ task.member }}")

    names = members()
    plan >> names
    each.expand(member=names)
    return tasks


def _groups(stages: Mapping[str, Stage]) -> list[list[str]]:
    """Group the names of stages whose members pair one to one: predict@a needs only train@a."""
    groups: list[list[str]] = []
    for name, stage in stages.items():
        paired = [group for group in groups if stage.paired & set(group)]
        merged = [*(member for group in paired for member in group), name]
        groups = [group for group in groups if group not in paired] + [merged]
    return groups
