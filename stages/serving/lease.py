"""A lease that one process at a time holds, on any MLflow server, while it moves the alias `champion`.

MLflow has no lock and no compare-and-set. Its server decides two things atomically, on any database: a run's
param is written once, and a second value is refused; and an experiment's name is taken once. So a lease is a
param `lease.N` of a run: the process that writes it first holds lease N. The run is in an experiment that
is made for it, `promotion lease: MODEL`, and only the process that created the experiment creates the run.
When the run or its experiment is deleted or garbage-collected, the next process creates `promotion lease:
MODEL (2)`, and so on; the highest number counts, so a restored run changes nothing. A lock in the database
would need its address; a lock file excludes nobody on another machine.

A holder that died is waited for `seconds`, then lease N + 1 is free. A holder that is suspended for longer
between comparing and moving (two requests) moves the alias all the same.
"""

import contextlib
import random
import re
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.common.errors import InterruptedServingError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

SECONDS = 30.0
# Of leases: how long a process waits for one before it gives up.
_PATIENCE = 5
# How long the process that created an experiment may take to create its run.
_CREATING = 10.0
_PARAM, _RETURNED = "lease.", "lease_returned"
_SHORTEST, _LONGEST = 0.05, 2.0


class Lease:
    """The lease of the registered model `name`; every operation goes to the current tracking server."""

    def __init__(self, client: "MlflowClient", name: str, seconds: float = SECONDS) -> None:
        """Prepare a lease.

        Args:
            client: A client of the tracking server.
            name: The name of the registered model.
            seconds: How long a holder that does not return its lease is waited for.
        """
        self._client, self._name, self._seconds = client, name, seconds

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lease within a block.

        Raises:
            InterruptedServingError: Other processes held it for five times its length, or it cannot be made.
        """
        from mlflow.exceptions import MlflowException

        run_id, number = self._take()
        try:
            yield
        finally:
            # The run may have been deleted meanwhile; then the lease is over as well.
            with contextlib.suppress(MlflowException):
                self._client.set_tag(run_id, _RETURNED, str(number))

    def _take(self) -> tuple[str, int]:
        """Write the next lease's param before any other process; the run and the number of the lease."""
        from mlflow.exceptions import MlflowException

        token = uuid.uuid4().hex
        pauses = _pauses()
        deadline = time.monotonic() + _PATIENCE * self._seconds
        newest, since = ("", -1), time.monotonic()
        while time.monotonic() < deadline:
            run_id = self._run(deadline)
            last, returned = self._last(run_id)
            if (run_id, last) != newest:
                newest, since = (run_id, last), time.monotonic()
            if last <= returned or time.monotonic() - since >= self._seconds:
                # Another process was faster, or the run has just been deleted.
                with contextlib.suppress(MlflowException):
                    self._client.log_param(run_id, f"{_PARAM}{last + 1}", token)
                if self._client.get_run(run_id).data.params.get(f"{_PARAM}{last + 1}") == token:
                    return run_id, last + 1
            time.sleep(next(pauses))
        raise InterruptedServingError(
            f"other processes held the promotion lease of {self._name} for {_PATIENCE * self._seconds:g} s; "
            f"run it again when they have ended, or delete run {newest[0]} in MLflow if none of them is alive"
        )

    def _last(self, run_id: str) -> tuple[int, int]:
        """The last lease taken and the last returned; 0 where there is none."""
        data = self._client.get_run(run_id).data
        leases = [int(key.removeprefix(_PARAM)) for key in data.params if key.startswith(_PARAM)]
        return max(leases, default=0), int(data.tags.get(_RETURNED, 0))

    def _run(self, deadline: float) -> str:
        """The run that holds the leases; created where there is none."""
        from mlflow.exceptions import MlflowException

        pauses = _pauses()
        number, patience, refusal = 0, time.monotonic() + _CREATING, "no other process creates it"
        while time.monotonic() < deadline:
            last, experiment = self._newest()
            if last != number:
                number, patience = last, time.monotonic() + _CREATING
            if experiment and (run_id := self._active(experiment)):
                return run_id
            if experiment is None or self._deleted(experiment) or time.monotonic() > patience:
                # Creating fails when another process has just created it: its run is waited for.
                try:
                    created = self._client.create_experiment(self._title(last + 1))
                    run = self._client.create_run(created, run_name=self._title(last + 1))
                    return str(run.info.run_id)
                except MlflowException as error:
                    refusal = str(error)
            time.sleep(next(pauses))
        raise InterruptedServingError(f"the promotion lease of {self._name} cannot be made: {refusal}")

    def _newest(self) -> "tuple[int, Experiment | None]":
        """The experiment of the highest number, active or deleted; 0 and None where there is none."""
        from mlflow.entities import ViewType

        pattern = re.compile(rf"{re.escape(self._title(1))}(?: \((\d+)\))?")
        # MLflow lists 1,000 experiments at once, the newest first: a server may have more.
        alike = f"name LIKE '{self._title(1)}%'"
        numbered = [
            (int(match[1] or 1), experiment)
            for experiment in self._client.search_experiments(ViewType.ALL, filter_string=alike)
            if (match := pattern.fullmatch(experiment.name))
        ]
        return max(numbered, key=lambda pair: pair[0], default=(0, None))

    def _active(self, experiment: "Experiment") -> str | None:
        if experiment.lifecycle_stage != "active":
            return None
        runs = self._client.search_runs([experiment.experiment_id], max_results=1)
        return str(runs[0].info.run_id) if runs else None

    def _deleted(self, experiment: "Experiment") -> bool:
        """Whether a person has deleted the experiment or its run: then no process is about to create it."""
        from mlflow.entities import ViewType

        if experiment.lifecycle_stage != "active":
            return True
        deleted = ViewType.DELETED_ONLY
        return bool(
            self._client.search_runs([experiment.experiment_id], run_view_type=deleted, max_results=1)
        )

    def _title(self, number: int) -> str:
        title = f"promotion lease: {self._name}"
        return title if number == 1 else f"{title} ({number})"


def _pauses() -> Iterator[float]:
    """Seconds to wait: each twice the one before, less a random part that separates processes."""
    pause = _SHORTEST
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311  (no secret)
        pause = min(2 * pause, _LONGEST)
