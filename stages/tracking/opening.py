"""When a run begins and ends, and what becomes of its record."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from stages.common import log
from stages.common.files import remove, write_json
from stages.tracking import executions, surroundings
from stages.tracking.late import KEPT, LOG, write_left
from stages.tracking.record import Record, taken_up
from stages.tracking.runs import Run, ending
from stages.tracking.sender import Sender
from stages.tracking.writer import Writer

# In a stage's outputs, beside the record: the run that made them.
LINK = "run.json"


@contextmanager
def run(
    recipe: str,
    name: str,
    tags: Mapping[str, str],
    *,
    keep: Path | None = None,
    resume: str | None = None,
) -> Iterator[Run]:
    """Open a run called `name` in the recipe's experiment; it ends as failed if the block raises.

    With `keep`, a folder that the block makes, the run's record and the link to it are left there. With
    `resume`, the `run_id` or `record` of a link, that run goes on: what a killed attempt has logged stays.
    MLFLOW_TRACKING_URI says where, by default mlflow.db in the working directory. A server that does not
    answer is a warning: the record waits. Raises TrackingError for one that refuses.
    """
    execution = asdict(executions.current())
    known = taken_up(resume) if resume else None
    tags = {**surroundings.tags(), "recipe": recipe, **tags}
    record = known or Record.create({"recipe": recipe, "name": name, "execution": execution, "tags": tags})
    if resume:
        record.append("again", process=tags[executions.PROCESS], execution=execution)
    writer = Writer(record, keep, None if known else resume)
    sender = Sender(record, writer)
    opened = Run(record, sender, writer)
    try:
        sender.open()
    except BaseException:
        if known is None:
            remove(record.folder)
        record.close()
        raise
    with _kept(opened, record, sender, keep):
        if sender.complete:
            write_left()
        if resume:
            opened.go_on()
        with ending(opened), _log_kept(opened, tags.get(executions.STAGE, "")):
            _describe(opened, recipe)
            yield opened


@contextmanager
def _log_kept(opened: Run, stage: str) -> Iterator[None]:
    """Keep the lines that the stage says."""
    with log.write_to_file(opened.artifact(LOG), stage):
        try:
            yield
        finally:
            opened.append("artifact", path=LOG)


@contextmanager
def _kept(opened: Run, record: Record, sender: Sender, keep: Path | None) -> Iterator[None]:
    """Wait for the server, then put the record where it belongs."""
    try:
        yield
    except BaseException:
        sender.stop()
        _let_go(record, sender)
        raise
    try:
        sender.close()
    except BaseException:
        record.append("end", status="FAILED")
        record.close()
        raise
    if keep is None:
        _let_go(record, sender)
        return
    write_json(keep / LINK, opened.link)
    record.move(keep / KEPT)


def _let_go(record: Record, sender: Sender) -> None:
    if sender.complete:
        remove(record.folder)
    record.close()


def _describe(opened: Run, recipe: str) -> None:
    """Where it runs and what it was told to do."""
    machine = surroundings.machine()
    opened.tags({f"machine.{key}": str(value) for key, value in machine.items() if value})
    opened.text(json.dumps(machine, indent=2), "environment/machine.json")
    opened.text(surroundings.packages(), "environment/packages.txt")
    for path in surroundings.recipe(recipe):
        opened.file(path, "recipe")
