"""DVC as a child process: its stages' events on the screen, all that it and libraries print in a file."""

import fcntl
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stages.common import events
from stages.common.errors import INTERRUPTED, LockedError
from stages.tools.running import branch, child
from stages.tools.running.screen import Screen

LOG = Path(".convoy/run.log")
_EVENTS = Path(".convoy/events.jsonl")
_LOCK = Path(".convoy/run.lock")
_SECONDS_BETWEEN_LOOKS = 0.1
_UNCHANGED = re.compile(r"^Stage '(.+)' didn't change, skipping", re.MULTILINE)
_RESTORED = re.compile(r"^Stage '(.+)' is cached - skipping run", re.MULTILINE)
# Of DVC's output, the lines that say why it failed, when no stage has.
_DVC_ERROR = re.compile(r"^ERROR: (?:unexpected error - )?(.+)", re.MULTILINE)
# What it prints of a dvc.yaml or dvc.lock that it cannot read: the file, then each fault and an extract.
_INVALID = re.compile(r"^'(?:\./)?(.+)' (?:is invalid|validation failed)", re.MULTILINE)
_FAULT = re.compile(r"^\S.*, (?:in )?line \d+, column \d+$", re.MULTILINE)
_LAST_LINES = 5


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: DVC's exit status; 130 after Ctrl-C.
        unchanged: Stages whose outputs in the workspace are up to date.
        restored: Stages whose outputs were taken from DVC's cache.
    """

    status: int
    unchanged: list[str]
    restored: list[str]

    @property
    def reused(self) -> list[str]:
        """Stages that did not run."""
        return self.unchanged + self.restored


@contextmanager
def reserved() -> Iterator[None]:
    """Reserve this folder's files of a run, which the next run overwrites.

    DVC's own lock comes too late: a second run would have emptied the files of the first.

    Raises:
        LockedError: Another run is under way.
    """
    _LOCK.parent.mkdir(exist_ok=True)
    with _LOCK.open("w") as lock:
        try:
            # The kernel drops the lock with the process, however that ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"another make run is under way in {Path.cwd()}; wait for its end") from None
        with branch.remembered():
            yield


def run(command: Sequence[str], screen: Screen, *, verbose: bool) -> Outcome:
    """Run a command whose stages record events, and show them.

    Args:
        command: Its words; no shell reads them.
        screen: Where the stages' lines go.
        verbose: Show all that the command prints, and nothing else.
    """
    _EVENTS.parent.mkdir(exist_ok=True)
    _EVENTS.unlink(missing_ok=True)
    environment = os.environ | {events.VARIABLE: str(_EVENTS.absolute())}
    if verbose:
        with child.started(command, env=environment) as process:
            return Outcome(process.wait(), [], [])
    reader = events.Reader(_EVENTS)
    with (
        LOG.open("ab") as log,
        child.started(command, env=environment, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        begin = log.tell()
        status = _watch(process, reader, screen)
    output = LOG.read_bytes()[begin:].decode(errors="replace")
    if status == INTERRUPTED:
        return Outcome(status, [], [])
    if status and not screen.errors:
        for line in _reasons(output):
            screen.text(f"error: {line}")
    if status:
        screen.text(f"All output is in {LOG}; VERBOSE=1 shows it.")
    return Outcome(status, _UNCHANGED.findall(output), _RESTORED.findall(output))


def _reasons(output: str) -> list[str]:
    """The lines of DVC's output that say why it failed; its last ones where none is known to."""
    if (invalid := _INVALID.search(output)) and (faults := _FAULT.findall(output, invalid.end())):
        return [f"{invalid[1]}: {fault}" for fault in faults]
    return _DVC_ERROR.findall(output) or output.splitlines()[-_LAST_LINES:]


def _watch(process: "subprocess.Popen[bytes]", reader: events.Reader, screen: Screen) -> int:
    while True:
        try:
            # Before the look, so that the last records are seen.
            status = process.poll()
            for record in reader.read():
                screen.show(record)
            if status is not None:
                return status
            screen.refresh()
            process.wait(_SECONDS_BETWEEN_LOOKS)
        except subprocess.TimeoutExpired:
            continue
        except KeyboardInterrupt:
            # The terminal has sent it to the stage as well, which ends in order.
            process.wait()
            screen.text("Stopped. The same command resumes: what is finished is not done again.")
            return INTERRUPTED
