"""How a task's worker is started: one file per runner, whose name is its registration.

A runner starts `python -m pipelines.worker` with the variables of a `Work`. They take precedence over all
others of the same name. It passes each line of output to the task's log, and returns the result.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol

from pipelines.config import Config
from pipelines.graph import Settings

COMMAND = ("-m", "pipelines.worker")
# Of the 240 characters of a work's name: the others are for the stage, its member and a rank.
_LONGEST = 150
RUNNERS = sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))


@dataclass(frozen=True)
class Work:
    """One call of the worker.

    Attributes:
        name: Unique among all works that can run at once: run, stage and member. At most 240 characters, of
            letters, digits, underscores, dots and dashes.
        variables: Environment variables of the worker; `pipelines/worker/__init__.py` lists them.
        settings: Image and limits, from the stage's `meta:` in dvc.yaml.
        label: What each of its lines in the task's log begins with.
    """

    name: str
    variables: dict[str, str]
    settings: Settings
    label: str = ""

    @property
    def writes_repository(self) -> bool:
        """Whether the work pushes to the repository: only `record` does."""
        return self.variables["CONVOY_ACTION"] == "record"


class Runner(Protocol):
    """Runs one work. `pipelines/runners/NAME.py` holds `create(config)`, which makes one."""

    def run(self, work: Work, context: Any) -> dict[str, Any] | None:
        """Run the worker to its end, and remove what was started for it.

        An exception in the midst of it, such as the one that Airflow raises at a task's timeout, first stops
        the work as `cancel` does. Airflow's own call of `cancel` comes after `run` has ended.

        Args:
            work: What to run.
            context: The context of the Airflow task.

        Returns:
            The worker's result, as `pipelines/worker/__init__.py` describes it. Where the worker left none,
            one that the runner makes: `outcome` (`failed`, `stopped`, or `refused` where a retry cannot help)
            and `reason` (the cause, the exit status, the last lines). None if nothing is known.
        """

    def cancel(self) -> None:
        """Stop what `run` has started; nothing of the work runs afterwards.

        It may be called at any time, from a signal handler: it must not log, nor wait for a lock that the
        interrupted code may hold.
        """


def run_name(run: Any) -> str:
    """Name a run outside Airflow: allowed as a git branch and in the name of a container.

    Args:
        run: Airflow's, with `dag_id` and `run_id`.

    Returns:
        The name, unique among all runs. An id that has to change gets a digest: lr=0.1 and lr-0-1 are two.

    Raises:
        ValueError: The id leaves no room for the name of a stage beside it.
    """
    text = f"{run.dag_id}-{run.run_id}"
    own_id = re.sub(r"^(manual|scheduled|asset_triggered)__", "", run.run_id)
    name = re.sub(r"[^A-Za-z0-9]+", "-", f"{run.dag_id}-{own_id}").strip("-")
    if name != text:
        name = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    if len(name) > _LONGEST:
        hint = f"at most {_LONGEST} are allowed; trigger it again with a shorter run id"
        raise ValueError(f"the run's name has {len(name)} characters: {name[:40]}…; {hint}")
    return name


def create(name: str, config: Config) -> Runner:
    """Make a runner for one work.

    Args:
        name: Name of a file in this folder.
        config: Where everything is.

    Returns:
        The runner.

    Raises:
        ValueError: There is no runner of this name.
    """
    if name not in RUNNERS:
        raise ValueError(f"runner is {name}; allowed: {', '.join(RUNNERS)}")
    runner: Runner = import_module(f"pipelines.runners.{name}").create(config)
    return runner
