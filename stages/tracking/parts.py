"""The parts of a run as MLflow takes them: params, metrics, data sets, phases, the model, the headline.

Each part may be sent again without harm: names and times are those of the record.
"""

import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from stages.common.errors import ConvoyError
from stages.common.redaction import redact
from stages.tracking import view
from stages.tracking.executions import PARENT, STAGE
from stages.tracking.record import Record
from stages.tracking.server import TrackingError, Unreachable, resolve

if TYPE_CHECKING:
    from mlflow import MlflowClient

# What MLflow takes in one request, and of a data set's digest.
_LIMITS = {"metrics": 1000, "params": 100, "tags": 100}
_DIGEST = 36
# Step → time in milliseconds and values.
Epochs = Mapping[str, tuple[int, Mapping[str, float]]]


def log_params(client: "MlflowClient", run_id: str, params: Mapping[str, Any]) -> None:
    """Log flat params."""
    from mlflow.entities import Param

    _send(client, run_id, "params", [Param(key, str(value)) for key, value in params.items()])


def log_tags(client: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags."""
    from mlflow.entities import RunTag

    _send(client, run_id, "tags", [RunTag(key, value) for key, value in tags.items()])


def log_epochs(
    client: "MlflowClient", run_id: str, epochs: Epochs, uploaded: Collection[tuple[str, int]] = ()
) -> None:
    """Log metrics by step, but for the `uploaded` pairs of metric and step."""
    from mlflow.entities import Metric

    metrics = [
        Metric(key, value, time, int(step))
        for step, (time, values) in epochs.items()
        for key, value in values.items()
        if (key, int(step)) not in uploaded
    ]
    _send(client, run_id, "metrics", metrics)


def log_metrics(client: "MlflowClient", run_id: str, values: Mapping[str, Any]) -> None:
    """Log the record's epochs, and its metrics of the run as a whole as step 0."""
    # An earlier attempt, whose record may be lost with its machine, has logged at other times.
    uploaded = known_steps(client, run_id) if values["resumed"] else set()
    log_epochs(client, run_id, values["epochs"], uploaded)
    # Those of the run as a whole are the last attempt's.
    for key, (value, time) in values["metrics"].items():
        log_epochs(client, run_id, {"0": (time, {key: value})})


def known_steps(client: "MlflowClient", run_id: str) -> set[tuple[str, int]]:
    """Return the pairs of metric and step that the server has of a run."""
    names = client.get_run(run_id).data.metrics
    return {(name, point.step) for name in names for point in client.get_metric_history(run_id, name)}


def log_datasets(client: "MlflowClient", run_id: str, datasets: Iterable[Mapping[str, str]]) -> None:
    """Log what the stage read."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    for values in datasets:
        digest, source = values["digest"][:_DIGEST], values["source"]
        dataset = Dataset(values["name"], digest, "local", source, profile=values["profile"])
        context = InputTag("mlflow.data.context", values["context"])
        client.log_inputs(run_id, [DatasetInput(dataset, [context])])


def log_artifacts(client: "MlflowClient", run_id: str, record: Record) -> None:
    """Log the record's files."""
    with _storing():
        client.log_artifacts(run_id, str(record.folder / "artifacts"))


def log_phases(client: "MlflowClient", run_id: str, experiment: str, values: Mapping[str, Any]) -> None:
    """Log each phase to a run of its own below this one."""
    for name, epochs in values["phases"].items():
        below = f"tags.`{PARENT}` = '{run_id}' and tags.phase = '{name}'"
        runs = client.search_runs([experiment], below, max_results=1)
        tags = {PARENT: run_id, "phase": name, STAGE: values["tags"].get(STAGE, "")}
        phase = runs[0] if runs else client.create_run(experiment, values["started"], tags, name)
        log_epochs(client, phase.info.run_id, epochs)
        client.set_terminated(phase.info.run_id, "FINISHED", values["ended"])


def log_model_once(client: "MlflowClient", run_id: str, experiment: str, record: Record) -> None:
    """Log the record's model as it was saved when it was trained, with the code and packages of then."""
    if record.model.exists():
        models = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
        if not any(model.status == "READY" for model in models):
            log_model(client, run_id, record.model)


def log_model(client: "MlflowClient", run_id: str, folder: Path) -> str:
    """Log an MLflow model, saved in `folder`, as the run's model `model`; returns its URI.

    MLflow's own log_model needs the run to be the active one, and ends it.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    model = client.create_logged_model(client.get_run(run_id).info.experiment_id, "model", run_id)
    with _storing(), TemporaryDirectory() as aside:
        saved = Model.load(str(folder))
        saved.artifact_path, saved.run_id = model.artifact_location, run_id
        saved.model_id = saved.model_uuid = model.model_id
        saved.save(str(Path(aside) / "MLmodel"))
        client.log_model_artifacts(model.model_id, str(folder))
        client.log_model_artifacts(model.model_id, aside)
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    return f"models:/{model.model_id}"


def log_parent(
    client: "MlflowClient", run_id: str, experiment: str, parent: str, values: Mapping[str, Any]
) -> None:
    """Log the execution's headline to the parent, and link members, also those of earlier executions."""
    if (headline := values["parent"]) is None:
        return
    runs = {name: resolve(client, link) for name, link in headline["links"].items()}
    links = {name: member for name, member in runs.items() if member}
    for target in (run_id, parent):
        log_tags(client, target, {f"run.{name}": member for name, member in links.items()})
    pages = {**links, "evaluation": run_id}
    lines = [f"- [{name}](#/experiments/{experiment}/runs/{page})" for name, page in pages.items()]
    executions = view.save(client, experiment, headline["metrics"], headline["params"], values["ended"])
    lines.append(f"- [all executions]({executions})")
    note = "\n".join([headline["note"], "", "Runs:", "", *lines])
    log_tags(client, parent, {"mlflow.note.content": note})
    log_epochs(client, parent, {"0": (values["ended"], headline["metrics"])})
    log_datasets(client, parent, values["datasets"])
    log_params(client, parent, headline["params"])


def _send(client: "MlflowClient", run_id: str, kind: str, values: list[Any]) -> None:
    for start in range(0, len(values), _LIMITS[kind]):
        batch: dict[str, Any] = {kind: values[start : start + _LIMITS[kind]]}
        client.log_batch(run_id, **batch)


@contextmanager
def _storing() -> Iterator[None]:
    """Around what goes to an artifact store, which may be of any kind and has errors of its own."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (ConvoyError, MlflowException):
        raise
    except FileNotFoundError as error:
        raise TrackingError(f"{error.filename} is missing") from error
    except Exception as error:
        raise Unreachable(f"artifact store: {textwrap.shorten(redact(repr(error)), 300)}") from error
