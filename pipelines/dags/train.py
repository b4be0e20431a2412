"""train: a run of the pipeline, from the form."""

from airflow.sdk import DAG

from pipelines import config, form, graph
from pipelines.dag import DEFAULTS, add_tasks

with DAG(
    "train",
    description="Train, compare and evaluate as a recipe says",
    doc_md="Choose a recipe, change params if you like, trigger. Unchanged stages are skipped.",
    params=form.fields(config.load()),
    default_args=DEFAULTS,
    schedule=None,
    tags=["convoy"],
):
    add_tasks(graph.load(config.DVC_YAML))
