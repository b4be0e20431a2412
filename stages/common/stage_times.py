"""How long commands take, and how much of it passes before their work begins: `make run` shows a table.

DVC says nothing about time. Each command appends one line to the file that CONVOY_STAGE_TIMES names.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

VARIABLE = "CONVOY_STAGE_TIMES"


@contextmanager
def recorded(name: str) -> Iterator[None]:
    """Record the block as the work of the command `name`, or of the stage that DVC runs.

    Everything from the start of the process to the block is start-up: the interpreter and the imports.
    """
    file = os.environ.get(VARIABLE)
    if not file:
        yield
        return
    born, began = psutil.Process().create_time(), time.time()
    yield
    line = {
        "stage": os.environ.get("DVC_STAGE") or name,
        "seconds": round(time.time() - born, 2),
        "start_up": round(began - born, 2),
    }
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


def read(path: Path) -> list[dict[str, str | float]]:
    """The recorded commands, in the order of their ends; none where there is no file."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []
