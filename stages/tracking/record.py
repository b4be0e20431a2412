"""The record of a run: all that is to be logged, on disk before any server has it.

    record.json      what the run is, and its params, tags, metrics, epochs, data sets
    artifacts/       files to log under the same names
    model/           an MLflow model, until a server has it

While the stage runs, the folder is `.tracking/ID`, outside of the stage's outputs, which DVC and a failed
stage remove. The record of a stage that succeeds becomes `tracking` in its outputs, and so travels through
DVC's cache. The file is replaced as a whole: a killed process leaves its last state. Writing takes less than
a millisecond for 100 epochs; a file to append to would be cheaper and could end in half a line.
"""

import fcntl
import json
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, TextIO

from stages.common import log
from stages.common.files import check_replaceable, remove, replace_atomically
from stages.common.redaction import redact
from stages.tracking.server import project_root

FILE = "record.json"
_LOCK, _DAMAGED = "lock", ".damaged"


def waiting() -> Path:
    """Return the folder of records whose stage runs, failed or was killed."""
    return project_root() / ".tracking"


def now() -> int:
    """Return the time as MLflow has it: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Record:
    """A record on disk. The process that writes it holds a lock, which the system drops with the process."""

    def __init__(self, folder: Path, values: dict[str, Any], lock: TextIO | None = None) -> None:
        self.folder, self.values, self._lock = folder, values, lock

    @classmethod
    def create(cls, identity: str, **about: Any) -> Self:
        """Write a new record, open for writing; where `identity` is taken, under another one."""
        if (folder := waiting() / identity).exists():
            folder = waiting() / uuid.uuid4().hex
        (folder / "artifacts").mkdir(parents=True)
        lock = (folder / _LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        empty: dict[str, Any] = {
            "run_id": None,
            "params": {},
            "metrics": {},
            "epochs": {},
            "phases": {},
            "datasets": [],
        }
        times = {"started": now(), "ended": None, "status": "RUNNING", "resumed": False}
        record = cls(folder, {"id": folder.name, **about, **times, **empty, "parent": None}, lock)
        record.save()
        return record

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Open a record for reading. Raises OSError, ValueError or KeyError where the file is damaged."""
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return cls(folder, {key: values[key] for key in ("id", "status", *values)})

    @classmethod
    def claim(cls, folder: Path) -> Self | None:
        """Open for writing what a dead process left; None where its process lives or there is none.

        A damaged record is a warning and set aside under another name: no stage stops because of it.
        """
        try:
            lock = (folder / _LOCK).open("r+")
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            record = cls.read(folder)
        except BlockingIOError:
            lock.close()
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            cls(folder, {}, lock).set_aside(error)
            return None
        record._lock = lock
        return record

    def set_aside(self, error: Exception) -> None:
        """Rename a record that cannot be used, so that no later stage reads it, and close it."""
        self.close()
        if self.folder.exists():
            aside = self.folder.rename(self.folder.with_suffix(f".{uuid.uuid4().hex[:8]}{_DAMAGED}"))
            log.warning("set_aside_damaged_record", path=aside, reason=repr(error))

    def save(self) -> None:
        """Write the values; credentials in them are replaced."""
        text = redact(json.dumps(self.values, ensure_ascii=False))
        with replace_atomically(self.folder / FILE) as aside:
            aside.write_text(text, encoding="utf-8")

    @property
    def link(self) -> dict[str, str | None]:
        """The record's id, its run's on the server, None while no server answered, and the experiment."""
        values = self.values
        return {"record": values["id"], "run_id": values["run_id"], "experiment": values["recipe"]}

    def artifact(self, name: str) -> Path:
        """Return where to write the artifact of this name."""
        path = self.folder / "artifacts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def model(self) -> Path:
        """Where the model is that no server has yet."""
        return self.folder / "model"

    def move(self, folder: Path) -> None:
        """Move the record to `folder`, where it replaces an earlier one, and close it.

        Raises:
            OutputError: `folder` holds files that no record has.
        """
        check_replaceable(folder, (FILE, "artifacts/*", "model/*"))
        remove(folder)
        # Before the folder moves, so that no process takes the lock of a record that is on its way.
        (self.folder / _LOCK).unlink()
        self.folder = Path(shutil.move(self.folder, folder))
        self.close()

    def delete(self) -> None:
        """Remove the record, which a server has."""
        remove(self.folder)
        self.close()

    def close(self) -> None:
        """Drop the lock."""
        if self._lock is not None:
            self._lock.close()


def claimed() -> Iterator[Record]:
    """Yield the records of dead processes: of killed stages, and of failed ones that no server has."""
    for path in sorted(waiting().glob(f"*/{FILE}")):
        record = Record.claim(path.parent) if path.parent.suffix != _DAMAGED else None
        if record:
            yield record
            record.close()


def set_aside() -> list[Path]:
    """Return the folders of records that could not be used."""
    return sorted(waiting().glob(f"*{_DAMAGED}"))
