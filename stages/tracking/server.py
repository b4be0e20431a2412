"""The tracking server: its address, what its errors mean, and how runs are looked up there."""

import logging
import os
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from stages.common import collector, git
from stages.common.errors import ConvoyError, TransientError
from stages.common.redaction import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient

# The tag `record.ID` of a run names the record that it was made of; see upload.py for its values.
RECORD = "record."
_SQLITE = "sqlite:///"
_BUSY = (408, 429)
_DEFAULTS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # MLflow's own seven retries take four minutes. A second retry sleeps four seconds, the first does not.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


class TrackingError(ConvoyError):
    """The tracking server refuses a request, or the address is not one of a tracking server."""


class AddressError(TrackingError):
    """MLFLOW_TRACKING_URI is no address of a tracking server."""


class Unreachable(TrackingError, TransientError):  # noqa: N818  (a state, not a mistake: the record waits)
    """The tracking server does not answer."""


def project_root() -> Path:
    """Find the folder of the project, the same one from every workspace.

    `dvc exp run --temp` and `--queue` work in a temporary folder, which is deleted afterwards, and name the
    project in DVC_ROOT. A git worktree belongs to the repository it was made from.

    Returns:
        The project's folder in the main working tree; outside of a repository the working directory.
    """
    return _root_of(os.environ.get("DVC_ROOT") or str(Path.cwd()))


@lru_cache
def _root_of(folder: str) -> Path:
    options = ["--path-format=absolute", "--git-common-dir", "--show-prefix"]
    common, _, prefix = git.ask("-C", folder, "rev-parse", *options).partition("\n")
    root = Path(common)
    # The common folder of a submodule, or of a bare repository, is not inside a working tree.
    return root.parent / prefix.strip() if root.name == ".git" else Path(folder).resolve()


def address() -> str:
    """Return the server's URI: MLFLOW_TRACKING_URI, by default `mlflow.db` in the project's folder.

    A relative path to a SQLite file counts from the project's folder, whatever the workspace.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db"
    path = uri.removeprefix(_SQLITE)
    return uri if path == uri else f"{_SQLITE}{project_root() / path}"


def export_address() -> str:
    """Put the server's URI and Convoy's settings of MLflow into the environment, for processes started later.

    Does not import MLflow, which takes 1.4 CPU seconds.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    uri = os.environ["MLFLOW_TRACKING_URI"] = address()
    return uri


@contextmanager
def connected() -> Iterator["MlflowClient"]:
    """Point MLflow at the server, also in processes started inside.

    Yields:
        A client of the server at `address()`.

    Raises:
        AddressError: The address is none of a tracking server.
        Unreachable: The server does not answer, or answers that it is busy or broken.
        TrackingError: The server refuses. No text names credentials.
    """
    uri = export_address()
    collector.import_packages("mlflow", "sqlalchemy.exc")
    from mlflow.exceptions import InvalidUrlException, MlflowException
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        yield _client(uri)
    except InvalidUrlException as error:
        raise _address_error(uri, error) from error
    except (MlflowException, SQLAlchemyError) as error:
        status = 400
        if isinstance(error, MlflowException):
            status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
        transient = isinstance(error, OperationalError) or status >= 500 or status in _BUSY
        kind = Unreachable if transient else TrackingError
        raise kind(f"tracking at {redact(uri)}: {textwrap.shorten(redact(str(error)), 300)}") from error


def _client(uri: str) -> "MlflowClient":
    """Make a client, which asks no server over HTTP. What it says of a database is left as it is."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.store.db.db_types import DATABASE_ENGINES
    from sqlalchemy.exc import ArgumentError

    try:
        mlflow.set_tracking_uri(uri)
        return mlflow.MlflowClient(uri)
    except (ArgumentError, ImportError, ValueError) as error:
        # An ImportError is of a database whose driver is not installed.
        raise _address_error(uri, error) from error
    except MlflowException as error:
        if uri.startswith(tuple(DATABASE_ENGINES)):
            raise
        raise _address_error(uri, error) from error


def _address_error(uri: str, error: Exception) -> AddressError:
    reason = textwrap.shorten(redact(str(error)), 160, placeholder=" …")
    return AddressError(
        f"tracking at {redact(uri)}: {reason}; allowed in MLFLOW_TRACKING_URI: http://HOST:PORT, "
        "https://HOST:PORT, sqlite:///FILE, or another database whose driver is installed"
    )


def check() -> None:
    """Ask the server for something.

    Raises:
        AddressError, Unreachable, TrackingError: As `connected`.
    """
    with connected() as client:
        client.search_experiments(max_results=1)


def find(client: "MlflowClient", record: str, experiment: str) -> str | None:
    """Return the id of the run that was made of this record, deleted or not; None where there is none.

    Args:
        client: A client of the server.
        record: The record's id.
        experiment: The name of the run's experiment, deleted or not.
    """
    from mlflow.entities import ViewType

    if (where := client.get_experiment_by_name(experiment)) is None:
        return None
    query = f"tags.`{RECORD}{record}` LIKE '%'"
    runs = client.search_runs([where.experiment_id], query, ViewType.ALL, max_results=1)
    return str(runs[0].info.run_id) if runs else None


def resolve(client: "MlflowClient", link: Mapping[str, str | None]) -> str | None:
    """Find a stage's run on this server.

    Args:
        client: A client of the server.
        link: The content of a stage's `run.json`.

    Returns:
        The run's id; None where the run never reached a server.
    """
    record, experiment = link.get("record"), link.get("experiment")
    return (find(client, record, experiment) if record and experiment else None) or link["run_id"]


def experiment(client: "MlflowClient", name: str) -> str:
    """Return the id of the experiment of this name, made if there is none.

    Raises:
        TrackingError: The experiment is deleted.
    """
    from mlflow.exceptions import MlflowException

    if (experiment := client.get_experiment_by_name(name)) is None:
        try:
            return str(client.create_experiment(name, _artifact_location()))
        except MlflowException:
            # Another process was faster.
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {name} is deleted; restore it: "
            f"mlflow experiments restore -x {experiment.experiment_id}"
        )
    return str(experiment.experiment_id)


def _artifact_location() -> str | None:
    """Beside a SQLite file. MLflow's own default is the working directory, which DVC may delete."""
    path = address().removeprefix(_SQLITE)
    return (Path(path).parent / "mlruns").as_uri() if path != address() else None
