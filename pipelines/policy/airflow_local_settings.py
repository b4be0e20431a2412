"""A run's priority and pool. Airflow imports this module by its name, wherever PYTHONPATH has its folder.

No template of a task can set them: Airflow reads them before it fills a task's templates. This hook is called
when a run's tasks are created, with the run.
"""

from functools import cache
from typing import Any

from pipelines import graph
from pipelines.config import DVC_YAML

# More than the weight of any task of one run: how many tasks come after it.
_STEP = 1000
_DEFAULT_POOL = "default_pool"


def task_instance_mutation_hook(task_instance: Any, dag_run: Any = None) -> None:
    """Set what the trigger form says of a run; Airflow may call this more than once for a task.

    Args:
        task_instance: A task of a run.
        dag_run: The run; None where Airflow does not have it, and calls again.
    """
    conf = (dag_run and dag_run.conf) or {}
    if priority := conf.get("priority"):
        task_instance.priority_weight = priority * _STEP + task_instance.priority_weight % _STEP
    stage = _stages().get(task_instance.task_id)
    if stage is None or task_instance.operator != "RunStage":
        return
    settings = stage.settings.with_gpus(conf.get("gpus"))
    task_instance.pool_slots = settings.slots
    if (pool := conf.get("pool")) and settings.pool == _DEFAULT_POOL:
        task_instance.pool = pool


@cache
def _stages() -> dict[str, graph.Stage]:
    return graph.load(DVC_YAML)
