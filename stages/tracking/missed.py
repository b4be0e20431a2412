"""What a server has missed of earlier runs: records in outputs, and those of failed and killed stages."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from stages.common import log
from stages.tracking.record import FILE, Record, claimed, now, set_aside
from stages.tracking.server import TrackingError, Unreachable
from stages.tracking.upload import FOLDER, upload


class Counts(NamedTuple):
    """How many records were uploaded now, and how many a server has not, by the reason.

    Partial are those of the uploaded of which the server refuses a part, such as the params. Records that the
    server had already are not counted.
    """

    uploaded: int = 0
    partial: int = 0
    refused: int = 0
    damaged: int = 0
    unreachable: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Add other records."""
        return Counts(*(first + second for first, second in zip(self, other, strict=True)))


def sync(folders: Iterable[Path]) -> Counts:
    """Upload what a server has missed of the runs that made these outputs, which stay as they are.

    Args:
        folders: Outputs of stages that track. Those without a record are passed over.

    Returns:
        The number of records. A server that has none of a run gets all of it. One that is refused or damaged
        is a warning.

    Raises:
        Unreachable: The server does not answer.
    """
    counts = Counts()
    for folder in (folder / FOLDER for folder in folders if (folder / FOLDER / FILE).exists()):
        try:
            record = Record.read(folder)
        except (OSError, ValueError, KeyError) as error:
            log.warning("skipped_damaged_record", path=folder, reason=str(error))
            counts = counts.plus(Counts(damaged=1))
            continue
        try:
            refused = upload(record)
        except Unreachable:
            raise
        except TrackingError as error:
            counts = counts.plus(_refused(record, error))
        else:
            counts = counts.plus(_sent(refused))
    return counts


def upload_waiting() -> Counts:
    """Upload and remove the records of failed and killed stages.

    Returns:
        The number of records. Damaged are those that were set aside, now or earlier.
    """
    counts = Counts()
    for record in claimed():
        counts = counts.plus(_uploaded(record))
    return counts.plus(Counts(damaged=len(set_aside())))


def _uploaded(record: Record) -> Counts:
    try:
        values = record.values
        if values["ended"] is None:
            values |= {"status": "KILLED", "ended": now()}
            record.save()
        refused = upload(record)
    except Unreachable:
        return Counts(unreachable=1)
    except TrackingError as error:
        return _refused(record, error)
    except (LookupError, TypeError, ValueError) as error:
        # Another version wrote it, or a person: it must not stop the stage that has just ended.
        record.set_aside(error)
        return Counts()
    record.delete()
    return _sent(refused)


def _sent(refused: set[str] | None) -> Counts:
    """Count one record, by the parts that the server refused; None: nothing was sent."""
    return Counts() if refused is None else Counts(uploaded=1, partial=int(bool(refused)))


def _refused(record: Record, error: TrackingError) -> Counts:
    """Of a deleted experiment, for one: the stage that asks has work of its own."""
    log.warning("skipped_refused_record", path=record.folder, reason=str(error))
    return Counts(refused=1)
