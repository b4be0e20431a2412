"""A record → the tracking server: whatever is missing there, each part once.

The run carries the tag `record.ID`: `open` until the record is there as a whole, then the time at which the
record ended. Every part may be sent again without harm, because names and times are those of the record: a
server may die at any moment, also between a part and the tag.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from stages.common import log
from stages.tracking import executions, parts
from stages.tracking.executions import PARENT, PROCESS, Execution
from stages.tracking.record import Record
from stages.tracking.server import RECORD, TrackingError, Unreachable, connected, experiment, find

if TYPE_CHECKING:
    from mlflow import MlflowClient

# In a stage's outputs, the record; among a run's artifacts, the stage's log.
FOLDER, LOG = "tracking", "log.txt"
# The tag of a run that failed: why.
ERROR = "error"
# Tags that the parent shares with the first of its children.
_SHARED = ("recipe", "manifest", "git.commit", "git.dirty", "mlflow.user", "mlflow.source.git.commit")


def end_killed_everywhere() -> None:
    """End the runs of this machine's killed stages, in all experiments. Raises TrackingError."""
    with connected() as client:
        token = None
        while True:
            page = client.search_experiments(page_token=token)
            for experiment in page:
                executions.end_killed(client, experiment.experiment_id)
            if not (token := page.token):
                return


def open_run(client: "MlflowClient", record: Record) -> tuple[str, str, str]:
    """Find the run of a record, or make it, below its execution's parent.

    Returns:
        The ids of the run, of its experiment and of the parent run.
    """
    values = record.values
    where, execution = experiment(client, values["recipe"]), Execution(**values["execution"])
    shared = {key: value for key, value in values["tags"].items() if key in _SHARED}
    shared |= {"mlflow.source.name": "dvc.yaml", "mlflow.source.type": "LOCAL"}
    parent = executions.parent_run(client, where, execution, shared)
    run_id = find(client, values["id"], values["recipe"])
    if run_id is None:
        tags = {**values["tags"], PARENT: parent, RECORD + values["id"]: "open"}
        run_id = client.create_run(where, values["started"], tags, values["name"]).info.run_id
    values["run_id"] = run_id
    return run_id, where, parent


def begin(client: "MlflowClient", record: Record) -> str:
    """Open the run of a stage that begins, and end the runs of killed stages; returns the run's id."""
    run_id, where, parent = open_run(client, record)
    if record.values["resumed"]:
        client.update_run(run_id, "RUNNING")
        # It may go on in another process and execution than it was begun in.
        for key, value in {PARENT: parent, PROCESS: record.values["tags"][PROCESS]}.items():
            client.set_tag(run_id, key, value)
        if ERROR in client.get_run(run_id).data.tags:
            client.delete_tag(run_id, ERROR)
    executions.end_killed(client, where, run_id)
    executions.follow(client, where, parent, "RUNNING")
    return run_id


def upload(record: Record) -> set[str] | None:
    """Upload what the server lacks of a record.

    Args:
        record: The record of a stage that has ended.

    Returns:
        The parts that the server refused, each of which was a warning; None where nothing was sent, as the
        server has the record, or a person deleted the run.

    Raises:
        Unreachable: The server does not answer; what is missing waits for the next upload.
        TrackingError: The server does not take the run at all.
    """
    with connected() as client:
        run_id, where, parent = open_run(client, record)
        run, values = client.get_run(run_id), record.values
        mark, ended = RECORD + values["id"], str(values["ended"])
        # A person deleted the run: it stays deleted.
        if run.info.lifecycle_stage == "deleted" or run.data.tags.get(mark) == ended:
            return None
        refused = set()
        pieces: dict[str, Callable[[], object]] = {
            "params": lambda: parts.log_params(client, run_id, values["params"]),
            "tags": lambda: parts.log_tags(client, run_id, values["tags"]),
            "metrics": lambda: parts.log_metrics(client, run_id, values),
            "data sets": lambda: parts.log_datasets(client, run_id, values["datasets"]),
            "artifacts": lambda: parts.log_artifacts(client, run_id, record),
            "phases": lambda: parts.log_phases(client, run_id, where, values),
            "model": lambda: parts.log_model_once(client, run_id, where, record),
            "parent": lambda: parts.log_parent(client, run_id, where, parent, values),
        }
        for name, log_piece in pieces.items():
            try:
                with connected():
                    log_piece()
            except Unreachable:
                raise
            except TrackingError as error:
                # One part that a server never takes must not keep the others from it.
                log.warning("skipped_refused_part", part=name, reason=str(error))
                refused.add(name)
        _end(client, record, where, run_id)
        client.set_tag(run_id, mark, ended)
        return refused


def end_stopped(record: Record) -> None:
    """End the run of a stage that was stopped during its upload; what is missing waits in the record.

    Raises:
        TrackingError: The server does not answer, or refuses.
    """
    with connected() as client:
        run_id, where, _ = open_run(client, record)
        _end(client, record, where, run_id)


def _end(client: "MlflowClient", record: Record, where: str, run_id: str) -> None:
    """End the run, and its execution's parent with the last run below it."""
    values = record.values
    client.set_terminated(run_id, values["status"], values["ended"])
    # Another stage may have made an older parent meanwhile.
    parent = executions.adopt(client, where, Execution(**values["execution"]), run_id)
    executions.follow(client, where, parent, values["status"])
