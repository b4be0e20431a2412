"""The tracking server: how it is reached, what its errors mean, and how runs are found there."""

import logging
import os
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stages.common.errors import ConvoyError

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_URI = "sqlite:///mlflow.db"
# Of each record that a run has lines of, how many: `record.ID`.
RECORD = "record."
_TOO_BUSY = (408, 429)


class TrackingError(ConvoyError):
    """The tracking server refuses, or what is set as one cannot be one."""


class Unreachable(TrackingError):  # noqa: N818  (a state and no mistake: what is tracked waits on disk)
    """The tracking server does not answer."""

    status = os.EX_TEMPFAIL


@contextmanager
def connected() -> Iterator["MlflowClient"]:
    """Point MLflow at the server, also in processes started inside; its errors become TrackingError.

    MLFLOW_TRACKING_URI says where, by default mlflow.db in the working directory.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # MLflow's own seven take four minutes, silently; nothing is lost, as the record waits.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    uri = os.environ["MLFLOW_TRACKING_URI"] = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        mlflow.set_tracking_uri(uri)
        yield mlflow.MlflowClient(uri)
    except (MlflowException, SQLAlchemyError) as error:
        status = 400
        if isinstance(error, MlflowException):
            status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
        away = isinstance(error, OperationalError) or status >= 500 or status in _TOO_BUSY
        kind = Unreachable if away else TrackingError
        raise kind(f"tracking at {uri}: {textwrap.shorten(str(error), 300)}") from error


def find(client: "MlflowClient", record: str) -> str | None:
    """The id of the run that was made of this record, deleted or not, or None."""
    from mlflow.entities import ViewType

    everywhere = [one.experiment_id for one in client.search_experiments(ViewType.ALL)]
    runs = client.search_runs(everywhere, f"tags.`{RECORD}{record}` LIKE '%'", ViewType.ALL, max_results=1)
    return str(runs[0].info.run_id) if runs else None


def resolve(client: "MlflowClient", link: Mapping[str, str | None]) -> str | None:
    """The id, on this server, of the run that a stage's `run.json` names; None where it never got there."""
    record = link.get("record")
    return (find(client, record) if record else None) or link["run_id"]


def experiment(client: "MlflowClient", name: str) -> str:
    """The id of the experiment of this name, made if there is none; TrackingError for a deleted one."""
    from mlflow.exceptions import MlflowException

    if (known := client.get_experiment_by_name(name)) is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:
            # Somebody else was faster.
            known = client.get_experiment_by_name(name)
            if known is None:
                raise
    if known.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {name} is deleted; restore it: mlflow experiments restore -x {known.experiment_id}"
        )
    return str(known.experiment_id)
