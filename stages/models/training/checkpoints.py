"""Checkpoints: the state of an unfinished training, so that a killed one resumes.

DVC removes a stage's outputs before it runs, so checkpoints are outside of them: in `.checkpoints`, or in the
folder that the environment variable CONVOY_CHECKPOINTS names. Who sets the variable also clears that folder:
a worker may be killed after the training and before DVC has taken its outputs, and the next try then only
writes them again.

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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stages.common import log, ranks
from stages.common.errors import UNREADABLE, LockedError, raise_if_transient
from stages.common.files import read_json, remove, write_json
from stages.common.history import History
from stages.models.training import array_files
from stages.models.training.array_files import Arrays

VARIABLE = "CONVOY_CHECKPOINTS"
_LAST = "last.npz"
_IDENTITY = "identity.json"


@dataclass(frozen=True)
class Progress:
    """How far a training is. The order of the data follows from seed, epoch and batch: it needs no saving.

    Attributes:
        phase: its number, from 1.
        over: whether that phase is over.
        best: the epoch, from 1, whose weights are the best so far; None where they are not kept.
        history: of the finished epochs.
        batch: the finished batches of the epoch that comes next; 0 at its beginning.
        logs: the metrics after these batches.
    """

    phase: int
    over: bool
    best: int | None
    history: History
    batch: int = 0
    logs: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """All that a training needs to resume.

    Attributes:
        progress: how far it is.
        variables: of model and optimizer, in their order.
        metrics: the metrics' sums, within an epoch; else empty.
        best: the weights of the best epoch; None where they are not kept.
    """

    progress: Progress
    variables: Arrays
    metrics: Arrays
    best: Arrays | None


def path_of(member: str, identity: Mapping[str, Any]) -> Path:
    """The folder of one training's checkpoints, which may not exist; arguments as of `reserved`."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return Path(os.environ.get(VARIABLE) or ".checkpoints") / f"{member}-{digest}"


@contextmanager
def reserved(member: str, identity: Mapping[str, Any]) -> Iterator[Path]:
    """Reserve the checkpoint folder of one training; an earlier attempt at it may have left its state there.

    The folder is removed on success, unless CONVOY_CHECKPOINTS is set.

    Args:
        member: the member's name.
        identity: all that the training follows from, as JSON. Another identity is another folder: a
            checkpoint of other code, params or data is never resumed from, and one line of the log says so.

    Raises:
        LockedError: another process is training the same.
    """
    folder = path_of(member, identity)
    if not folder.exists():
        _report_others(folder, member, identity)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            # The kernel drops the lock with the process, however that ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"{folder}: another process is training the same member") from None
        write_json(folder / _IDENTITY, identity)
        yield folder
        if not os.environ.get(VARIABLE):
            remove(folder)


def write(folder: Path, state: State) -> None:
    """Write a training's state; the one before it stays valid until this one is complete."""
    epoch = state.progress.best
    # The best weights first and under their epoch, as the state must not name weights that are not there.
    if state.best is not None and epoch is not None and not (path := _best(folder, epoch)).exists():
        array_files.write(path, best=state.best)
    array_files.write(
        folder / _LAST, asdict(state.progress), variables=state.variables, metrics=state.metrics
    )
    _remove_best(folder, besides=epoch)


def read(folder: Path) -> State | None:
    """Read what `write` wrote last, and remove what is no part of it.

    Returns:
        None where there is nothing, or nothing that can be read: a power cut may do that, and the training
        can start anew.
    """
    path = folder / _LAST
    try:
        state = _read(path)
    except UNREADABLE as error:
        # The file may be whole: it must not be removed.
        raise_if_transient(error)
        if path.exists():
            log.warning("ignored_checkpoint", path=path, reason=f"it cannot be read: {error}")
        _discard(folder)
        return None
    if ranks.is_first():
        # `write` would take those of an attempt that was killed within it for its own.
        _remove_best(folder, besides=state.progress.best)
    return state


def fits(state: State, shapes: list[tuple[int, ...]], folder: Path) -> bool:
    """Whether a state's first arrays have these shapes; if not, it is removed, and the log says so."""
    if [array.shape for array in state.variables[: len(shapes)]] == shapes:
        return True
    log.warning("ignored_checkpoint", path=folder / _LAST, reason="its weights have other shapes")
    _discard(folder)
    return False


def _read(path: Path) -> State:
    values, (variables, metrics) = array_files.read(path, "variables", "metrics")
    progress = Progress(**values)
    if progress.best is None:
        return State(progress, variables, metrics, None)
    _, (best,) = array_files.read(_best(path.parent, progress.best), "best")
    return State(progress, variables, metrics, best)


def _discard(folder: Path) -> None:
    """Remove a state that is of no use, and its best weights: `write` would take them for its own."""
    if ranks.is_first():
        remove(folder / _LAST)
        _remove_best(folder, besides=None)


def _remove_best(folder: Path, besides: int | None) -> None:
    for path in folder.glob(_best(folder, "*").name):
        if besides is None or path != _best(folder, besides):
            remove(path)


def _report_others(folder: Path, member: str, identity: Mapping[str, Any]) -> None:
    """Say in one line that there are checkpoints of this member that this training cannot use, and why."""
    for path in sorted(folder.parent.glob(f"{member}-*/{_IDENTITY}")):
        try:
            other = read_json(path)
        except (OSError, ValueError):
            continue
        keys = {*identity, *other}
        changed = sorted(key for key in keys if json.loads(json.dumps(identity.get(key))) != other.get(key))
        reason = f"another {' and '.join(changed)}"
        log.event("ignored_checkpoint", path=path.parent, reason=reason)


def _best(folder: Path, epoch: int | str) -> Path:
    return folder / f"best-{epoch}.npz"
