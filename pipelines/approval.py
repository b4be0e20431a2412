"""A person's approval before a stage, where a run asks for it. A waiting task takes no slot of any pool."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import yaml
from airflow.providers.standard.operators.hitl import HITLOperator

from pipelines import alerts, config
from pipelines.markdown import code
from pipelines.operators import APPROVE, PLAN, may_run, skip

_YES, _NO = "Approve", "Reject"
_DAYS = 7


class Approve(HITLOperator):
    """Waits until a person approves or rejects a stage; a rejected stage runs with its `meta: approval` true.

    Without an answer it counts as rejected after a week. A run whose form does not ask for an approval skips
    it, as does a run whose stage has nothing to do.
    """

    def __init__(self, *, stage: str, param: str, **kwargs: Any) -> None:
        """Create the task.

        Args:
            stage: The stage that waits.
            param: The boolean param that keeps the stage from changing anything, by its dotted key.
            kwargs: Those of any operator.
        """
        super().__init__(
            subject=f"Run {stage}?",
            options=[_YES, _NO],
            defaults=_NO,
            response_timeout=timedelta(days=_DAYS),
            **kwargs,
        )
        self.stage, self.param = stage, param

    def execute(self, context: Any) -> Any:
        """Decide whether there is a question at all, then ask it; the answer comes to `execute_complete`."""
        ti, settings = context["ti"], config.load()
        if not context["params"]["approval"]:
            skip(context, f"{APPROVE}: this run's form asks for no approval")
        plan = ti.xcom_pull(task_ids=PLAN)
        if not may_run(self, plan, self.stage):
            skip(context, f"{APPROVE}: {self.stage} has nothing to do")
        # Airflow takes a task for killed whose answer comes before it has heard of the process's end.
        # A person's *Clear* gives a task more tries than its own; then the question is asked again.
        if ti.max_tries == self.retries and (answer := alerts.answer_to_earlier_try(settings, ti)):
            return self.execute_complete(context, answer)
        # Of a mapped task, a list: members' own metrics are too many for a question.
        values = [ti.xcom_pull(task_ids=name) for name in sorted(self.upstream_task_ids)]
        results = [value for value in values if isinstance(value, Mapping)]
        self.body = describe(self.stage, self.param, results)
        page = f"dags/{ti.dag_id}/runs/{ti.run_id}/tasks/{self.task_id}/required_actions"
        url = f"{settings.airflow_url}/{page}"
        alerts.add_note(settings, ti, f"Waits for approval of {self.stage}: [answer]({url})")
        alerts.post(settings, context, "awaited_approval", stage=self.stage, answer=url)
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        """Return the answer, and the params that the run goes on with."""
        answer, ti, settings = super().execute_complete(context, event), context["ti"], config.load()
        approved = answer["chosen_options"] == [_YES]
        person = (answer["responded_by_user"] or {}).get("name") or f"no answer within {_DAYS} days"
        params = ti.xcom_pull(task_ids=PLAN)["params"]
        if not approved:
            params = with_param(params, self.param)
        verdict = "approved" if approved else f"rejected: it runs with {self.param}=true and changes nothing"
        reason = f"{self.stage} is {verdict} ({person})"
        self.log.info("answered_approval reason=%s", reason)
        alerts.add_task_note(settings, ti, code(reason))
        alerts.add_note(settings, ti, f"Approval: {code(reason)}")
        kind = "approved_stage" if approved else "rejected_stage"
        alerts.post(settings, context, kind, stage=self.stage, by=person, reason=reason)
        return {"approved": approved, "by": person, "params": params}


def with_param(params: str, key: str) -> str:
    """Return the text of params.yaml with a boolean set to true; `key` is dotted."""
    values = yaml.safe_load(params)
    *sections, name = key.split(".")
    section = values
    for part in sections:
        section = section[part]
    section[name] = True
    return yaml.safe_dump(values, sort_keys=False)


def describe(stage: str, param: str, results: list[Mapping[str, Any]]) -> str:
    """Write the question in Markdown, with the metrics of the stages directly before the one that waits."""
    lines = [
        f"**{_YES}**: `{stage}` runs. **{_NO}**, or no answer within {_DAYS} days: it runs with "
        f"`{param}=true`, changes nothing, and the rest of the run goes on.",
        "",
    ]
    for result in results:
        for name, value in (result.get("metrics") or {}).items():
            figures = value if isinstance(value, Mapping) else {"": value}
            texts = [f"{key} {figure:.4g}".strip() for key, figure in figures.items() if _is_number(figure)]
            if texts:
                lines.append(f"- {code(name)}: {', '.join(texts)}")
    return "\n".join(lines)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
