"""A run's priority and pool. Airflow imports this module by its name, wherever PYTHONPATH has its folder.

No template of a task can set them: Airflow reads them before it fills a task's templates. This hook is called
when a run's tasks are created, with the run.
"""

import logging
from functools import lru_cache
from typing import Any

from pipelines import graph
from pipelines.config import CODE, DVC_YAML

log = logging.getLogger(__name__)
_DAGS = {path.stem for path in (CODE / "pipelines" / "dags").glob("*.py")}
# More than the weight of any task of one run: how many tasks come after it.
_STEP = 1000


def task_instance_mutation_hook(task_instance: Any, dag_run: Any = None) -> None:
    """Set what the trigger form says of a run; Airflow may call this more than once for a task.

    Args:
        task_instance: A task of a run.
        dag_run: The run; None where Airflow does not have it, and calls again.
    """
    conf = (dag_run and dag_run.conf) or {}
    if task_instance.dag_id not in _DAGS:
        return
    if priority := conf.get("priority"):
        task_instance.priority_weight = priority * _STEP + task_instance.priority_weight % _STEP
    pool, gpus, nodes = conf.get("pool"), conf.get("gpus"), conf.get("nodes")
    if task_instance.operator != "RunStage" or (not pool and gpus is None and nodes is None):
        return
    try:
        stage = _stages(DVC_YAML.stat().st_mtime_ns)[task_instance.task_id]
        settings = stage.settings.with_gpus(gpus).with_nodes(nodes).with_pool(pool)
    except Exception as error:
        # It would end the scheduler. A person may just be editing dvc.yaml.
        log.warning("skipped_pool task=%s reason=%s", task_instance.task_id, error)
        return
    task_instance.pool, task_instance.pool_slots = settings.pool, settings.slots


@lru_cache(maxsize=1)
def _stages(_: int) -> dict[str, graph.Stage]:
    """The graph as dvc.yaml has had it since that time; a scheduler runs for weeks."""
    return graph.load(DVC_YAML)
