"""clean_up: list what old runs left, or remove it; by hand, or on a schedule."""

from datetime import timedelta

from airflow.sdk import DAG, Param

from pipelines import alerts, config, form
from pipelines.operators import CleanUp

SETTINGS = config.load()

with DAG(
    "clean_up",
    description="List or remove old clones, checkpoints, results, runs of MLflow and objects of DVC's cache",
    doc_md="By hand, it lists unless *Remove* is chosen. On a schedule (CONVOY_CLEAN_UP_CRON), it removes.",
    params={
        "days": Param(30, type="integer", allOf=[{"minimum": 1, "maximum": 36_500}], title="Days"),
        "remove": Param(bool(SETTINGS.clean_up_cron), type="boolean", title="Remove"),
        "runner": form.fields(SETTINGS)["runner"],
    },
    default_args={"on_failure_callback": alerts.on_failure},
    schedule=SETTINGS.clean_up_cron or None,
    catchup=False,
    max_active_runs=1,
    tags=["convoy"],
):
    CleanUp(task_id="clean_up", execution_timeout=timedelta(hours=6))
