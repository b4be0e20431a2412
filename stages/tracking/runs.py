"""How a run begins and ends, and where its record goes."""

import getpass
import json
import os
import platform
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from stages.common import git, log, machine
from stages.common.files import digest, remove, write_json
from stages.common.redaction import redact_all
from stages.tracking import executions, missed, upload
from stages.tracking.live import Live
from stages.tracking.record import Record, now, waiting
from stages.tracking.run import Run
from stages.tracking.server import TrackingError, Unreachable

# In a stage's outputs, beside the record: the run that made them.
LINK = "run.json"
# DVC composes params.yaml and writes dvc.lock: a run of a committed tree with other params is not dirty.
_CODE = (":/", ":!params.yaml", ":!dvc.lock")


@contextmanager
def run(
    recipe: str,
    name: str,
    tags: Mapping[str, str],
    *,
    keep: Path | None = None,
    identity: str | None = None,
    resume: bool = False,
) -> Iterator[Run]:
    """Open a run; it ends as FAILED if the block raises, and as KILLED if the block is stopped.

    A server that does not answer is one warning. The record then waits, in `keep` or, where the stage failed,
    in `.tracking`, and the next stage that tracks, `evaluate` or `make sync-tracking` uploads it.

    Args:
        recipe: The experiment's name.
        name: The run's name.
        tags: The run's tags; `stage` and `manifest` are what others look for.
        keep: A folder that the block makes: the record and the link to the run are left there.
        identity: The record's id, as a link has it; None: a new one.
        resume: An earlier attempt had this record: what it has logged stays, and its run goes on.

    Raises:
        TrackingError: The server refuses, or MLFLOW_TRACKING_URI is none.
    """
    record, is_new = _record(recipe, name, {**_tags(), "recipe": recipe, **tags}, identity, resume=resume)
    live = Live(record)
    try:
        live.open()
    except BaseException:
        record.delete() if is_new else record.close()
        raise
    opened = Run(record, live)
    try:
        with log.write_to_file(record.artifact(upload.LOG), tags.get(executions.STAGE, "")):
            _describe(opened, recipe)
            yield opened
    except BaseException as error:
        opened.tags({upload.ERROR: str(error)} if isinstance(error, Exception) else {})
        _finish(record, live, "FAILED" if isinstance(error, Exception) else "KILLED", None)
        raise
    _finish(record, live, "FINISHED", keep)


def _record(
    recipe: str, name: str, tags: dict[str, str], identity: str | None, *, resume: bool
) -> tuple[Record, bool]:
    """The record of the attempt to resume, if it is on this machine, or a new one; and whether it is new."""
    execution = asdict(executions.current())
    record = Record.claim(waiting() / identity) if identity and resume else None
    if is_new := record is None:
        about = {"recipe": recipe, "name": name, "tags": redact_all(tags), "execution": execution}
        record = Record.create(identity or uuid.uuid4().hex, **about)
    else:
        earlier = {key: value for key, value in record.values["tags"].items() if key != upload.ERROR}
        record.values |= {"tags": earlier | redact_all(tags), "execution": execution}
    record.values |= {"resumed": resume, "status": "RUNNING", "ended": None}
    record.save()
    return record, is_new


def _finish(record: Record, live: Live, status: str, keep: Path | None) -> None:
    """Upload the record, then leave it in the outputs, or in `.tracking` where nothing else has it."""
    record.values |= {"status": status, "ended": now()}
    record.save()
    uploaded = False
    try:
        if not live.close():
            raise Unreachable("a request got no answer")
        refused = upload.upload(record)
        uploaded = True
        if "model" not in (refused or ()):
            # The server has it. In the outputs it would double a member's size.
            remove(record.model)
    except Exception as error:
        # Whatever a server or a proxy answers must not cost a training that is done.
        live.warn(error)
    except BaseException:
        # SIGTERM or Ctrl-C. The stage ends without its outputs, and the run would stay RUNNING.
        record.values["status"] = "KILLED"
        record.save()
        with suppress(TrackingError):
            upload.end_stopped(record)
        record.close()
        raise
    if keep is not None:
        write_json(keep / LINK, record.link)
        record.move(keep / upload.FOLDER)
    elif uploaded:
        record.delete()
    record.close()
    if uploaded:
        missed.upload_waiting()


def _tags() -> dict[str, str]:
    """Tags of every run: process, commit, DVC's stage and lock file, and what MLflow shows in its columns."""
    values = {
        executions.PROCESS: executions.process_identity(os.getpid()),
        "host": platform.node(),
        "mlflow.source.name": Path(sys.argv[0]).name,
        "mlflow.source.type": "LOCAL",
    }
    # In some containers the user is a number without a name.
    with suppress(KeyError, OSError):
        values["mlflow.user"] = getpass.getuser()
    if commit := git.commit():
        dirty = str(git.differs(*_CODE)).lower()
        values |= {"git.commit": commit, "git.dirty": dirty, "mlflow.source.git.commit": commit}
    if stage := os.environ.get("DVC_STAGE"):
        values[executions.DVC_STAGE] = stage
    if (lock := Path("dvc.lock")).exists():
        # DVC adds this stage's entry at its end; the entries before it say what the stage reads.
        values["dvc.lock"] = digest(lock)
    return values


def _describe(opened: Run, recipe: str) -> None:
    """Log where the run is made and by which params."""
    facts = machine.describe()
    opened.tags({f"machine.{key}": str(value) for key, value in facts.items() if value})
    opened.text(json.dumps(facts, indent=2), "environment/machine.json")
    opened.text(machine.packages(), "environment/packages.txt")
    for path in (Path("params.yaml"), Path(f"conf/recipe/{recipe}.yaml")):
        if path.exists():
            # As text, which is redacted. A comment in another encoding must not stop a stage.
            opened.text(path.read_text(encoding="utf-8", errors="replace"), f"recipe/{path.name}")
