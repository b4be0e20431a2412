"""sweep: a run of `train` for every point of a grid."""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from pipelines import alerts, config, form, overrides

GRID = Param(
    [],
    type="array",
    items={"type": "string", "pattern": r"^[+\w.*/@]+=.+$"},
    minItems=1,
    title="Grid",
    description="One param per line with its values: models.lenet.train.epochs=5,10,20",
)


@task
def points() -> list[dict[str, Any]]:
    """Every combination of the grid's values, as the run that it becomes."""
    context = get_current_context()
    values, run = dict(context["params"]), context["dag_run"].run_id
    try:
        overrides.check_field_names(context["dag_run"].conf or {}, context["params"])
        grid = overrides.grid(values["grid"], overrides.from_form(values))
    except overrides.FormError as error:
        raise AirflowFailException(f"sweep: {error}") from None
    return [
        {
            "trigger_run_id": f"{run}-{number}",
            "conf": {key: value for key, value in values.items() if key != "grid"}
            | {"overrides": [*(values["overrides"] or []), *point]},
        }
        for number, point in enumerate(grid, start=1)
    ]


with DAG(
    "sweep",
    description="Train on every point of a grid",
    doc_md="Each point is a run of `train`; what points have in common is trained once.",
    params={"grid": GRID, **form.fields(config.load())},
    default_args={"on_failure_callback": alerts.on_failure},
    schedule=None,
    tags=["convoy"],
):
    TriggerDagRunOperator.partial(
        task_id="run",
        trigger_dag_id="train",
        wait_for_completion=True,
        # A deferred task takes none of the slots that the runs themselves need.
        deferrable=True,
        poke_interval=5,
        allowed_states=["success"],
        execution_timeout=timedelta(days=7),
        map_index_template="{{ task.conf['overrides'] | join(' ') }}",
        doc_md="A run of `train`; this task ends as that run ends.",
    ).expand_kwargs(points())
