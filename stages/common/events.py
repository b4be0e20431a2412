"""What the commands of a run do, as lines of JSON in the file that CONVOY_EVENTS names.

`make run` reads the file and shows one line per stage. DVC says nothing about time, and it passes on whatever
a library prints. Each line has the `stage`, the `kind` and what belongs to the kind:

    started                         the work of a command begins
    progress  activity done total   at most five a second; total 0: unknown
    event, warning, error           message, fields
    finished  seconds start_up      seconds since the process started; of these, before its work began

A pipe would lose the lines of a reader that is late. Several processes append to a file without a lock, as
one write of a short line is not divided.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

VARIABLE = "CONVOY_EVENTS"


def enabled() -> bool:
    """Whether a reader waits for the events of this process."""
    return bool(os.environ.get(VARIABLE))


def record(stage: str, kind: str, **fields: object) -> None:
    """Append a line, where CONVOY_EVENTS names a file.

    Args:
        stage: The command's name, used where DVC did not start the process.
        kind: One of the kinds above.
        **fields: What belongs to the kind; values that JSON does not know become text.
    """
    if not enabled():
        return
    line = {"stage": os.environ.get("DVC_STAGE") or stage, "kind": kind, **fields}
    path = Path(os.environ[VARIABLE])
    # A full disk must not replace the exit status of a command that is about to report it.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line, default=str) + "\n")


@contextmanager
def recorded(name: str) -> Iterator[None]:
    """Record the block as the work of the command `name`.

    Everything from the start of the process to the block is start-up: the interpreter and the imports.
    """
    if not enabled():
        yield
        return
    born, began = psutil.Process().create_time(), time.time()
    record(name, "started")
    yield
    record(name, "finished", seconds=round(time.time() - born, 2), start_up=round(began - born, 2))


class Reader:
    """Reads the lines that were appended since the last look.

    Args:
        path: The file; it may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._place = path, 0

    def read(self) -> list[dict[str, Any]]:
        """Return the new records, in the order in which they were written; half a line waits for its end."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._place)
            lines, end, _ = file.read().rpartition(b"\n")
        self._place += len(lines + end)
        return [json.loads(line) for line in lines.splitlines()]
