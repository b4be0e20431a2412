"""sweep: a run of `train` for every point of a grid."""

import logging
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from pipelines import alerts, config, form, overrides, ranking
from pipelines.dag import DEFAULTS
from pipelines.operators import PLAN, RECORD

log = logging.getLogger(__name__)

GRID = Param(
    [],
    type="array",
    items={"type": "string", "pattern": r"^[+\w.*/@]+=.+$"},
    minItems=1,
    title="Grid",
    description="One param per line with its values: models.lenet.train.epochs=5,10,20",
)
RANK_BY = Param(
    "ensemble.accuracy",
    type="string",
    pattern=r"^-?[\w.@-]+$",
    title="Rank by",
    description="The metric of the table at the end, as metrics.json has it: MEMBER.METRIC; -MEMBER.METRIC "
    "where the lowest value is best.",
)


class RunPoint(TriggerDagRunOperator):
    """A run of `train`. One that has failed is not repeated by itself: its tasks have been tried again."""

    def execute_complete(self, context: Any, event: Any) -> None:
        """Fail for good where the run has failed; a killed task is another case, and is tried again."""
        try:
            super().execute_complete(context, event)
        except AirflowException as error:
            raise AirflowFailException(str(error)) from None


@task
def points() -> list[dict[str, Any]]:
    """Every combination of the grid's values, as the run that it becomes."""
    context = get_current_context()
    values, run = dict(context["params"]), context["dag_run"].run_id
    try:
        overrides.check_field_names(context["dag_run"].conf or {}, context["params"])
        forms = overrides.forms(values)
    except overrides.FormError as error:
        raise AirflowFailException(f"sweep: {error}") from None
    return [{"trigger_run_id": f"{run}-{number}", "conf": conf} for number, conf in enumerate(forms, start=1)]


@task(trigger_rule="all_done", doc_md="The points, the best first; fails where a point has failed.")
def table() -> list[dict[str, Any]]:
    """Write the points into the run's note, and return them."""
    context = get_current_context()
    ti, key, settings = context["ti"], context["params"]["rank_by"], config.load()
    runs = ti.xcom_pull(task_ids="points") or []
    overrides_of = {run["trigger_run_id"]: " ".join(run["conf"]["overrides"]) for run in runs}
    metrics = {run: _metrics(ti, run) for run in overrides_of}
    points = ranking.ranked(
        [
            ranking.Point(text, run, ranking.score(metrics[run] or {}, key))
            for run, text in overrides_of.items()
        ],
        key,
    )
    if not points:
        raise AirflowFailException("sweep: there are no points; the log of the task points says why")
    text = ranking.table(points, key, f"{settings.airflow_url}/dags/train/runs/")
    log.info("ranked_points\n%s", text)
    alerts.add_note(settings, ti, text)
    if failed := [run for run, recorded in metrics.items() if recorded is None]:
        raise AirflowFailException(f"sweep: {len(failed)} of {len(runs)} points failed: {', '.join(failed)}")
    return [asdict(point) for point in points]


def _metrics(ti: Any, run: str) -> dict[str, Any] | None:
    """The metrics of a run of `train`; None where it has not been recorded."""
    recorded = ti.xcom_pull(dag_id="train", run_id=run, task_ids=RECORD)
    if not recorded:
        # Where there was nothing to do, the plan has what was recorded before.
        recorded = (ti.xcom_pull(dag_id="train", run_id=run, task_ids=PLAN) or {}).get("recorded")
    metrics: dict[str, Any] | None = recorded["metrics"] if recorded else None
    return metrics


with DAG(
    "sweep",
    description="Train on every point of a grid",
    doc_md="Each point is a run of `train`; what points have in common is trained once.",
    params={"grid": GRID, "rank_by": RANK_BY, **form.fields(config.load())},
    default_args=DEFAULTS,
    schedule=None,
    tags=["convoy"],
):
    runs = RunPoint.partial(
        task_id="run",
        trigger_dag_id="train",
        # When a person clears it, or it was killed: the run is there already.
        reset_dag_run=True,
        wait_for_completion=True,
        # A deferred task takes none of the slots that the runs themselves need.
        deferrable=True,
        poke_interval=5,
        allowed_states=["success"],
        execution_timeout=timedelta(days=7),
        map_index_template="{{ task.conf['overrides'] | join(' ') }}",
        doc_md="A run of `train`; this task ends as that run ends.",
    ).expand_kwargs(points())
    runs >> table()
