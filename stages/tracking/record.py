"""The local record of a run: all that is to be tracked, on disk before the server hears of it.

    record.jsonl     a line of JSON each: first what the run is, then what was logged, in order
    artifacts/       the files that the lines name

A line is there whole or not at all, whatever happens to the process, and its number says what a server
already has (see writer.py). While the stage runs, the folder lies in `.tracking/ID`, outside the stage's
outputs, which DVC and a failed stage remove; of a stage that succeeds it becomes `tracking` in its outputs,
and so travels with them through DVC's cache.
"""

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TextIO

from stages.common.files import remove

RECORDS = Path(".tracking")
LINES, ARTIFACTS = "record.jsonl", "artifacts"
_RUN_ID = "run_id"

Line = dict[str, Any]


class Record:
    """One record, open for reading; `create` and `claim` open it for writing too.

    Who writes holds a lock, which the system lets go of when the process dies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: TextIO | None = None

    @classmethod
    def create(cls, about: Line) -> Self:
        """A new record whose first line is `about`, to which its `id` and `time` are added."""
        folder = RECORDS / uuid.uuid4().hex
        record = cls(folder.with_suffix(".part"))
        record.artifacts.mkdir(parents=True)
        record._lock()
        record.append("run", id=folder.name, **about)
        # Only now, as others may claim what they find without a lock.
        record.folder = record.folder.rename(folder)
        return record

    def claim(self) -> bool:
        """Open for writing what a dead process left; False where the process lives."""
        try:
            self._lock()
        except (BlockingIOError, FileNotFoundError):
            return False
        return True

    @property
    def artifacts(self) -> Path:
        """Where the files are that lines of the kind `artifact` name."""
        return self.folder / ARTIFACTS

    @cached_property
    def about(self) -> Line:
        """The first line."""
        return next(self._read())

    def lines(self, start: int = 0) -> list[Line]:
        """The lines from this number on; the first is 0."""
        return list(self._read())[start:]

    def append(self, kind: str, **values: Any) -> None:
        """Write a line. It is in the system's hands then: only a power failure could lose it."""
        assert self._file is not None
        line = {"kind": kind, "time": time.time_ns() // 1_000_000, **values}
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()

    def know(self, run_id: str) -> None:
        """Keep the id of the run that a server has made of it."""
        (self.folder / _RUN_ID).write_text(run_id, encoding="utf-8")

    def move(self, folder: Path) -> None:
        """Put it into the place of `folder` and close it."""
        remove(folder)
        (self.folder / _RUN_ID).unlink(missing_ok=True)
        self.folder = Path(shutil.move(self.folder, folder))
        self.close()

    def close(self) -> None:
        """Let go of the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _lock(self) -> None:
        file = (self.folder / LINES).open("a", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(file.fileno()), (self.folder / LINES).stat()):
                raise FileNotFoundError("moved by its owner in this moment")
        except OSError:
            file.close()
            raise
        self._file = file

    def _read(self) -> Iterator[Line]:
        with (self.folder / LINES).open(encoding="utf-8") as file:
            for text in file:
                # The last one of a process that was killed while it wrote.
                if text.endswith("\n"):
                    yield json.loads(text)


def left_behind() -> Iterator[Record]:
    """Records of processes that are gone, claimed: of killed stages, and of failed ones nobody heard of."""
    for lines in sorted(RECORDS.glob(f"*/{LINES}")):
        record = Record(lines.parent)
        if lines.parent.suffix != ".part" and record.claim():
            yield record
            record.close()


def taken_up(link: str) -> Record | None:
    """The record that a killed process has left, claimed; `link` is its id or that of its run."""
    for folder in RECORDS.glob("*"):
        run_id = folder / _RUN_ID
        if folder.name == link or (run_id.exists() and run_id.read_text(encoding="utf-8") == link):
            record = Record(folder)
            return record if record.claim() else None
    return None
