"""A record → the tracking server: what is missing there, each line once.

A run carries how many lines of its record it has, and every line is written in a way that a second time
changes nothing: a server may die at any moment, also between a line and its count.
"""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.common import log
from stages.common.errors import ConvoyError
from stages.tracking import executions
from stages.tracking.executions import PARENT, PROCESS, STAGE, Execution
from stages.tracking.record import Line, Record
from stages.tracking.server import RECORD, TrackingError, Unreachable, connected, experiment, find, resolve

if TYPE_CHECKING:
    from mlflow import MlflowClient

# What MLflow takes in one request.
_METRICS, _PARAMS, _DIGEST = 1000, 100, 36
# What a parent is told of by the first of its children.
_COMMON = ("recipe", "manifest", "git.commit", "git.dirty", "mlflow.user", "mlflow.source.git.commit")


class Writer:
    """Writes one record to the server; `run_id` is known as soon as the run is there.

    `member` is the folder that a line of the kind `model` logs; without it such a line is left out.
    """

    def __init__(self, record: Record, member: Path | None = None, run_id: str | None = None) -> None:
        self.record, self.member, self.run_id = record, member, run_id
        self._about = record.about
        again = [line["execution"] for line in record.lines() if line["kind"] == "again"]
        self._execution = Execution(**[self._about["execution"], *again][-1])
        self._experiment = self._parent = ""
        self._written: int | None = None
        self._phases: dict[str, str] = {}

    def write(self, *, live: bool = False) -> None:
        """Write what is missing. `live` is the first time in a stage, which also ends killed runs.

        Raises Unreachable when the server does not answer: the rest is for the next time.
        """
        with connected() as client:
            if self._written is None:
                self._open(client)
                if live:
                    executions.end_killed(client, self._experiment, str(self.run_id))
                    executions.follow(client, self._experiment, self._parent, "RUNNING")
            assert self._written is not None
            for lines in _batches(self.record.lines(self._written)):
                self._send(client, lines, self._written + len(lines))
                self._written += len(lines)

    def steps(self) -> dict[str, int]:
        """Of each metric that the server has of the run, the last step; none while it does not answer."""
        try:
            with connected() as client:
                run_id = self.run_id or ""
                names = client.get_run(run_id).data.metrics if run_id else {}
                return {key: max(m.step for m in client.get_metric_history(run_id, key)) for key in names}
        except Unreachable:
            return {}

    def _open(self, client: "MlflowClient") -> None:
        """Find the run, or make it, below its execution's parent."""
        about = self._about
        self._experiment = experiment(client, about["recipe"])
        common = {key: value for key, value in about["tags"].items() if key in _COMMON}
        self._parent = executions.parent(client, self._experiment, self._execution, common)
        self.run_id = self._resumed(client) or find(client, about["id"])
        if self.run_id is None:
            tags = {**about["tags"], PARENT: self._parent, RECORD + about["id"]: "1"}
            made = client.create_run(self._experiment, about["time"], tags, about["name"])
            self.run_id = made.info.run_id
        run = client.get_run(self.run_id)
        self._written = int(run.data.tags.get(RECORD + about["id"], 1))
        if run.info.lifecycle_stage == "deleted":
            # By somebody who does not want it back.
            self._written = len(self.record.lines())
        elif run.data.tags.get(PARENT) != self._parent:
            # It goes on in another execution than it was begun in.
            client.set_tag(self.run_id, PARENT, self._parent)

    def _resumed(self, client: "MlflowClient") -> str | None:
        """The id of the run to go on with, if this server has it."""
        from mlflow.exceptions import MlflowException

        if self.run_id is None:
            return None
        try:
            return self.run_id if client.get_run(self.run_id).info.lifecycle_stage == "active" else None
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def _send(self, client: "MlflowClient", lines: list[Line], written: int) -> None:
        """Lines that are all metrics of one run, or one other line."""
        from mlflow.entities import RunTag

        kind = lines[0]["kind"]
        run_id = self._run_of(client, lines[0].get("phase"))
        try:
            with connected():
                if kind == "metrics":
                    client.log_batch(run_id, metrics=_metrics(lines))
                else:
                    getattr(self, f"_{kind}")(client, run_id, lines[0])
        except Unreachable:
            raise
        except TrackingError as error:
            # A line that a server will never take must not keep the others from it.
            log.warning("tracking refuses a part", part=kind, reason=str(error))
        mark = RunTag(RECORD + self._about["id"], str(written))
        client.log_batch(str(self.run_id), tags=[mark])

    def _run_of(self, client: "MlflowClient", phase: str | None) -> str:
        """The run itself, or the one below it of this phase."""
        assert self.run_id is not None
        if phase is None:
            return self.run_id
        if phase not in self._phases:
            below = f"tags.`{PARENT}` = '{self.run_id}' and tags.phase = '{phase}'"
            known = client.search_runs([self._experiment], below, max_results=1)
            found = known[0].info.run_id if known else None
            if found is None:
                tags = {key: self._about["tags"].get(key, "") for key in (STAGE, PROCESS)}
                tags |= {PARENT: self.run_id, "phase": phase}
                found = client.create_run(self._experiment, tags=tags, run_name=phase).info.run_id
            self._phases[phase] = found
        return self._phases[phase]

    def _params(self, client: "MlflowClient", run_id: str, line: Line) -> None:
        from mlflow.entities import Param

        values = [Param(key, str(value)) for key, value in line["values"].items()]
        for start in range(0, len(values), _PARAMS):
            client.log_batch(run_id, params=values[start : start + _PARAMS])

    def _tags(self, client: "MlflowClient", run_id: str, line: Line) -> None:
        for key, value in line["values"].items():
            client.set_tag(run_id, key, value)

    def _artifact(self, client: "MlflowClient", run_id: str, line: Line) -> None:
        path = Path(line["path"])
        within = path.parent.as_posix() if path.parent.name else None
        with _storing():
            client.log_artifact(run_id, str(self.record.artifacts / path), within)

    def _input(self, client: "MlflowClient", run_id: str, line: Line) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        about = Dataset(
            name=line["name"],
            digest=line["digest"][:_DIGEST],
            source_type="local",
            source=line["source"],
            profile=line["profile"],
        )
        client.log_inputs(run_id, [DatasetInput(about, [InputTag("mlflow.data.context", line["context"])])])

    def _model(self, client: "MlflowClient", run_id: str, line: Line) -> None:
        import mlflow

        from stages.serving import bundle, logged

        of_run = client.search_logged_models([self._experiment], f"source_run_id = '{run_id}'")
        if self.member is None or any(one.status == "READY" for one in of_run):
            return
        weights = {line["name"]: 1.0}
        with (
            bundle.temporary({line["name"]: self.member}, weights, crops="center") as folder,
            _storing(),
            mlflow.start_run(run_id=run_id),
        ):
            logged.log(folder)

    def _members(self, client: "MlflowClient", run_id: str, line: Line) -> None:
        """Metrics, and links to the members' runs, also to those made by earlier executions."""
        from mlflow.entities import Metric

        found = {name: resolve(client, link) for name, link in line["values"].items()}
        links = {name: link for name, link in found.items() if link}
        note = [f"- [{name}](#/experiments/{self._experiment}/runs/{link})" for name, link in links.items()]
        for target in (run_id, self._parent):
            for name, link in links.items():
                client.set_tag(target, f"run.{name}", link)
        client.set_tag(self._parent, "mlflow.note.content", "Members:\n\n" + "\n".join(note))
        values = [Metric(key, value, line["time"], 0) for key, value in line["metrics"].items()]
        client.log_batch(self._parent, metrics=values)

    def _end(self, client: "MlflowClient", run_id: str, line: Line) -> None:
        client.set_terminated(run_id, line["status"], line["time"])
        if run_id == self.run_id:
            # Somebody may have made an older parent meanwhile.
            self._parent = executions.adopt(client, self._experiment, self._execution, run_id)
            executions.follow(client, self._experiment, self._parent, line["status"])

    def _again(self, client: "MlflowClient", run_id: str, line: Line) -> None:
        client.update_run(run_id, "RUNNING")
        client.set_tag(run_id, PROCESS, line["process"])


@contextmanager
def _storing() -> Iterator[None]:
    """Around what goes to an artifact store, which may be of any kind and has errors of its own."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (ConvoyError, MlflowException):
        raise
    except FileNotFoundError as error:
        raise TrackingError(f"{error.filename} is gone") from error
    except Exception as error:
        raise Unreachable(f"artifact store: {textwrap.shorten(repr(error), 300)}") from error


def _batches(lines: list[Line]) -> Iterator[list[Line]]:
    """Lines of metrics of the same run together, as many as one request takes; others one by one."""
    batch: list[Line] = []
    count = 0
    for line in lines:
        more = len(line["values"]) if line["kind"] == "metrics" else _METRICS
        joins = batch and (batch[0]["kind"], batch[0].get("phase")) == (line["kind"], line.get("phase"))
        if batch and not (joins and count + more <= _METRICS):
            yield batch
            batch, count = [], 0
        batch.append(line)
        count += more
    if batch:
        yield batch


def _metrics(lines: list[Line]) -> list[Any]:
    from mlflow.entities import Metric

    return [
        Metric(key, value, line["time"], line.get("step") or 0)
        for line in lines
        for key, value in line["values"].items()
    ]
