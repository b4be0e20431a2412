"""How a task's worker is started: one file per runner, whose name is its registration.

A runner starts `python -m pipelines.worker` with the variables of a `Work`. They take precedence over all
others of the same name. It passes each line of output to the task's log, and returns the result.
"""

from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol

from pipelines.config import Config
from pipelines.graph import Settings

COMMAND = ("-m", "pipelines.worker")
RUNNERS = sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))


@dataclass(frozen=True)
class Work:
    """One call of the worker.

    Attributes:
        name: Unique among all works that can run at once: run, stage and member. At most 240 characters, of
            letters, digits, dots and dashes.
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
