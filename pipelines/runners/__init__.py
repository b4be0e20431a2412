"""How a task's worker is started: one file per runner, whose name is its registration.

A runner starts `python -m pipelines.worker` with the variables of a `Work`, which stand above all others of
the same name; passes every line it says to the task's log; and returns what the worker left as its result, or
None if it left none because it was killed. `cancel` may come at any time from a signal handler: afterwards
nothing of the work runs any more.
"""

from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol

from pipelines.config import Config
from pipelines.graph import Settings

COMMAND = ("-m", "pipelines.worker")
RUNNERS = sorted(module.name for module in iter_modules(__path__))


@dataclass(frozen=True)
class Work:
    """One call of the worker. `name` is unique among all that can run at once: run, stage and member."""

    name: str
    variables: dict[str, str]
    settings: Settings

    @property
    def writes_repository(self) -> bool:
        """Only record pushes something back."""
        return self.variables["CONVOY_ACTION"] == "record"


class Runner(Protocol):
    """Runs one work."""

    def run(self, work: Work, context: Any) -> dict[str, Any] | None:
        """Run the worker to its end; return its result. `context` is that of the Airflow task."""

    def cancel(self) -> None:
        """Stop what `run` has started."""


def create(name: str, config: Config) -> Runner:
    """The runner of this name. Raises ValueError with the names that are allowed."""
    if name not in RUNNERS:
        raise ValueError(f"runner is {name}; allowed: {', '.join(RUNNERS)}")
    runner: Runner = import_module(f"pipelines.runners.{name}").create(config)
    return runner
