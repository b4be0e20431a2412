"""Records that a server has not all of: what is missing is written, once, and outputs stay as they are."""

from collections.abc import Iterable
from pathlib import Path

from stages.common.files import remove
from stages.tracking.record import LINES, Record, left_behind
from stages.tracking.server import TrackingError
from stages.tracking.writer import Writer

# The record in a stage's outputs, and in it what the stage said.
KEPT, LOG = "tracking", "log.txt"


def sync(folders: Iterable[Path]) -> int:
    """Write what is missing of the records in these outputs; returns how many there are.

    A server that does not know a run, because it is another one, gets all of it. Raises TrackingError.
    """
    kept = [folder for folder in folders if (folder / KEPT / LINES).exists()]
    for folder in kept:
        Writer(Record(folder / KEPT), folder).write()
    return len(kept)


def write_left() -> int:
    """Write what processes that are gone have left, and remove it; returns how many have to wait."""
    return sum(not _written(record) for record in left_behind())


def _written(record: Record) -> bool:
    kinds = [line["kind"] for line in record.lines() if "phase" not in line]
    if kinds[-1] != "end":
        if (record.artifacts / LOG).exists():
            record.append("artifact", path=LOG)
        record.append("end", status="KILLED")
    try:
        Writer(record).write()
    except TrackingError:
        return False
    remove(record.folder)
    return True
