"""Runs of MLflow that nobody needs: those that never finished, and those that a person deleted long ago.

A run that a registered version points at is needed whatever its state; so are the runs above and below it,
and those that it names as its members. Runs that Convoy did not make lack the tag `process`, and stay.
"""

import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from stages.common.errors import ConvoyError
from stages.tracking import executions, server

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_SQLITE = "sqlite:///"
# A tag `run.NAME` names the run of a member.
_MEMBER = "run."
_PAGE = 1000


class Abandoned:
    """The unfinished runs at the server that no process will end.

    Attributes:
        runs: Their ids.
        needed_but_deleted: The ids of deleted runs that a registered version needs. MLflow's purge cannot
            leave them out, as it takes whole experiments.
    """

    def __init__(self, client: "MlflowClient", before: float) -> None:
        """Search them.

        Args:
            client: A client of the server.
            before: Seconds since the epoch: when they ended, or logged an epoch, at the latest.
        """
        self._client, self._before = client, before * 1000
        self._all = {run.info.run_id: run for run in _runs(client)}
        self._below: dict[str, list[str]] = defaultdict(list)
        for run_id, run in self._all.items():
            self._below[run.data.tags.get(executions.PARENT, "")].append(run_id)
        self._needed = self._needed_by_versions()
        self.needed_but_deleted = sorted(
            run_id
            for run_id in self._needed
            if (needed := self._find(run_id)) and needed.info.lifecycle_stage == "deleted"
        )
        stale = [run_id for run_id, run in self._all.items() if self._is_stale(run)]
        self.runs = [run_id for run_id in stale if self._can_go(run_id, set(stale))]

    def remove(self) -> None:
        """Delete the runs with their phases and models, which MLflow keeps as deleted until a purge."""
        for run_id in self.runs:
            for other in (*self._below[run_id], run_id):
                for model in self._client.search_logged_models(
                    [self._all[other].info.experiment_id], f"source_run_id = '{other}'"
                ):
                    self._client.delete_logged_model(model.model_id)
                self._client.delete_run(other)

    def _needed_by_versions(self) -> set[str]:
        versions = _pages(self._client.search_model_versions, max_results=_PAGE)
        needed = {str(version.run_id) for version in versions if version.run_id}
        for run_id in tuple(needed):
            tags = self._tags(run_id)
            parent = tags.get(executions.PARENT, "")
            needed |= set(self._below[run_id])
            if parent:
                needed |= {parent, *self._below[parent]}
            for owner in (tags, self._tags(parent)):
                needed |= {value for key, value in owner.items() if key.startswith(_MEMBER)}
        return needed

    def _find(self, run_id: str) -> "Run | None":
        """A run, deleted or not; None where there is none."""
        from mlflow.exceptions import MlflowException

        if run_id in self._all:
            return self._all[run_id]
        try:
            return self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _tags(self, run_id: str) -> dict[str, str]:
        run = self._find(run_id) if run_id else None
        return dict(run.data.tags) if run else {}

    def _is_stale(self, run: "Run") -> bool:
        """Whether a run of ours did not finish, and nothing has happened in it for long."""
        process = run.data.tags.get(executions.PROCESS)
        if process is None or run.info.status == "FINISHED" or executions.is_alive(process):
            return False
        last = run.info.end_time or run.info.start_time
        if last < self._before and run.info.status == "RUNNING":
            last = max([last, *self._epochs(run)])
        return bool(last < self._before)

    def _epochs(self, run: "Run") -> Iterator[int]:
        """When a run has logged each metric last: nobody knows of a process on another machine."""
        for name in run.data.metrics:
            yield max(point.timestamp for point in self._client.get_metric_history(run.info.run_id, name))

    def _can_go(self, run_id: str, stale: set[str]) -> bool:
        below = self._below[run_id]
        return run_id not in self._needed and all(
            other not in self._needed
            and (other in stale or executions.PROCESS not in self._all[other].data.tags)
            and self._can_go(other, stale)
            for other in below
        )


def deleted(before: float) -> tuple[list[str], int] | None:
    """List the runs that have been deleted for long, with the bytes of their artifacts.

    Returns:
        Their ids; None where the store is behind a server, which purges them by a command of its own.

    Raises:
        ConvoyError: Their artifacts are behind a server that this machine's store does not name.
    """
    path = server.address().removeprefix(_SQLITE)
    if path == server.address():
        return None
    query = "SELECT run_uuid, artifact_uri FROM runs WHERE lifecycle_stage = 'deleted' AND deleted_time < ?"
    with closing(sqlite3.connect(f"{Path(path).as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(query, (before * 1000,)).fetchall()
    if any(urlsplit(place).scheme not in ("", "file") for _, place in rows):
        raise ConvoyError(
            "some deleted runs have artifacts behind an MLflow server; start the server, "
            "set MLFLOW_TRACKING_URI to it and run mlflow gc"
        )
    return [run_id for run_id, _ in rows], sum(
        _size(Path(unquote(urlsplit(place).path))) for _, place in rows
    )


def purge(days: int) -> None:
    """Remove deleted runs, experiments and models with their artifacts for good, by MLflow's own command."""
    uri = server.address()
    words = ["gc", "--older-than", f"{days}d", "--backend-store-uri", uri, "--tracking-uri", uri]
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ConvoyError(f"mlflow gc: {' '.join(done.stderr.split())[-300:]}")


def has_store() -> bool:
    """Whether there can be runs: a client would create the file of a store that does not exist."""
    path = server.address().removeprefix(_SQLITE)
    return path == server.address() or Path(path).exists()


def days_ago(days: int) -> float:
    """The time so many days ago, in seconds since the epoch."""
    return time.time() - days * 86_400


def _runs(client: "MlflowClient") -> Iterator["Run"]:
    ids = [experiment.experiment_id for experiment in _pages(client.search_experiments, max_results=_PAGE)]
    if ids:
        yield from _pages(client.search_runs, experiment_ids=ids, max_results=_PAGE)


def _pages(search: Any, **options: Any) -> Iterator[Any]:
    """All results of one of MLflow's searches."""
    token = None
    while True:
        page = search(page_token=token, **options)
        yield from page
        if not (token := page.token):
            return


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
