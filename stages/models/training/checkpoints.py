"""Where a training is kept while it runs, so that a killed one goes on where it was.

DVC removes a stage's outputs before it runs, so this is outside of them: in `.checkpoints`, or the folder
that the environment variable CONVOY_CHECKPOINTS names. Who sets it also clears it: a worker may be killed
when the training is over and DVC has not taken its outputs yet, and the next try then only writes them again.

Keras' BackupAndRestore and ModelCheckpoint do not suffice: they write in place, know nothing of callbacks
(early stopping, plateaus), of the history before the kill and of two phases, and a backup's epoch is in a
second file that a kill can leave behind.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from stages.common import log
from stages.common.errors import LockedError
from stages.common.files import remove, replace_atomically
from stages.common.history import History

VARIABLE = "CONVOY_CHECKPOINTS"
_LAST = "last.npz"
_PROGRESS = "progress"

Arrays = list[NDArray[Any]]


@dataclass(frozen=True)
class Progress:
    """How far a training is: its phase, from 1, whether that is over, and the history up to here.

    `best` is the epoch, from 1, whose weights are the best so far; None where nobody keeps them. The data's
    order needs no place here: it follows from the seed and the number of the epoch.
    """

    phase: int
    over: bool
    best: int | None
    history: History


@contextmanager
def reserved(member: str, identity: Mapping[str, Any]) -> Iterator[Path]:
    """The folder of this training: that of an earlier attempt, if there was one.

    Removed on success, unless CONVOY_CHECKPOINTS is set. `identity` is all that the training follows from, as
    JSON: another one is another folder.

    Raises LockedError while another process trains the same.
    """
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    given = os.environ.get(VARIABLE)
    folder = Path(given or ".checkpoints") / f"{member}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            # The kernel drops it with the process, however that ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"{folder}: another process is training the same member") from None
        yield folder
        if not given:
            remove(folder)


def write(folder: Path, progress: Progress, variables: Arrays, best: Arrays | None) -> None:
    """Write the training's state; whatever was there before counts until this one is complete."""
    # The best weights first and under their epoch, as the state must not name weights that are not there.
    if best is not None and progress.best is not None and not (path := _best(folder, progress.best)).exists():
        _write(path, best)
    _write(folder / _LAST, variables, progress)
    for other in folder.glob(_best(folder, "*").name):
        if progress.best is None or other != _best(folder, progress.best):
            remove(other)


def read(folder: Path) -> tuple[Progress, Arrays, Arrays | None] | None:
    """What `write` wrote last: progress, the variables, the best weights.

    None where nothing was, or what was cannot be read: a power cut may do that, and the training can start
    over.
    """
    path = folder / _LAST
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            progress = Progress(**json.loads(str(file[_PROGRESS])))
            variables = _arrays(file)
        if progress.best is None:
            return progress, variables, None
        with np.load(_best(folder, progress.best), allow_pickle=False) as file:
            return progress, variables, _arrays(file)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        log.warning("the checkpoint cannot be read; starting over", path=path, because=error)
        return None


def _best(folder: Path, epoch: int | str) -> Path:
    return folder / f"best-{epoch}.npz"


def _write(path: Path, arrays: Arrays, progress: Progress | None = None) -> None:
    named: dict[str, Any] = {str(number): array for number, array in enumerate(arrays)}
    if progress:
        named[_PROGRESS] = np.array(json.dumps(asdict(progress)))
    with replace_atomically(path) as aside, aside.open("wb") as file:
        np.savez(file, **named)


def _arrays(file: Any) -> Arrays:
    return [file[str(number)] for number in range(sum(name.isdigit() for name in file.files))]
