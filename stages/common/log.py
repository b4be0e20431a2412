"""One line per event: prose on a terminal, key=value in containers and files; progress likewise.

An event is named verb_object in the past tense, with its figures as fields: `resized_images images=3`.
"""

import json
import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tqdm import tqdm

from stages.common import events
from stages.common.redaction import redact

_LOGGER = logging.getLogger("convoy")
# Of several processes that train together: `rank` and its number.
_RANK: dict[str, object] = {}
_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_EVENTS = 0.2


def configure(stage: str) -> None:
    """Send events of this process to standard error.

    Args:
        stage: The name of the stage or tool in each line.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Terminal(stage) if sys.stderr.isatty() else _KeyValue(stage))
    _LOGGER.handlers[:] = [handler, _Recorder(stage)] if events.enabled() else [handler]
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.propagate = False


def name_rank(rank: int) -> None:
    """Name this process's rank in each line from now on; of ranks above 0, events and progress are left out.

    All ranks of a training have the same events.
    """
    _RANK["rank"] = rank
    if rank:
        _LOGGER.setLevel(logging.WARNING)


@contextmanager
def write_to_file(path: Path, stage: str) -> Iterator[None]:
    """Write the events of a block to a file as well.

    Args:
        path: The file, to which lines are appended.
        stage: The name of the stage in each line.
    """
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(_KeyValue(stage))
    _LOGGER.addHandler(handler)
    try:
        yield
    finally:
        _LOGGER.removeHandler(handler)
        handler.close()


class Line(NamedTuple):
    """An event that another process logged: the level as `logging` has it, the event, its fields as text."""

    level: int
    message: str
    fields: dict[str, str]


@contextmanager
def collected() -> Iterator[list[Line]]:
    """Collect the events that this thread logs in a block, for the process that shows them (`repeat`)."""
    handler = _Collector(threading.get_ident())
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.addHandler(handler)
    try:
        yield handler.lines
    finally:
        _LOGGER.removeHandler(handler)


def repeat(lines: Iterable[Line], **fields: object) -> None:
    """Log what another process logged, with further fields such as its name."""
    for line in lines:
        _LOGGER.log(line.level, line.message, extra={"fields": {**line.fields, **fields}})


def event(message: str, **fields: object) -> None:
    """Log an event with its figures as fields."""
    _LOGGER.info(message, extra={"fields": fields})


def warning(message: str, **fields: object) -> None:
    """Log a condition that the user should check; the stage continues."""
    _LOGGER.warning(message, extra={"fields": fields})


def error(message: str) -> None:
    """Log the reason why the stage stops."""
    _LOGGER.error(message, extra={"fields": {}})


class Progress:
    """A bar with rate and ETA on a terminal; otherwise one line every five seconds. `with` closes it.

    Args:
        activity: What progresses, as `resizing`.
        total: How many units there are; 0 is unknown.
        unit: What is counted, in the singular.
    """

    def __init__(self, activity: str, total: int, unit: str) -> None:
        self._activity, self._total = activity, total
        self._done = 0
        self._started = self._logged = self._recorded = time.monotonic()
        on_terminal = sys.stderr.isatty() and not _RANK.get("rank")
        self._bar: tqdm[Any] | None = (
            tqdm(total=total, unit=f" {unit}", desc=activity, leave=False) if on_terminal else None
        )

    def advance(self, count: int = 1) -> None:
        """Count `count` more units as done."""
        self._done += count
        now = time.monotonic()
        if now - self._recorded >= _SECONDS_BETWEEN_EVENTS:
            self._recorded = now
            events.record("", "progress", activity=self._activity, done=self._done, total=self._total)
        if self._bar is not None:
            self._bar.update(count)
        elif now - self._logged >= _SECONDS_BETWEEN_LINES:
            self._logged = now
            rate = self._done / (now - self._started)
            remaining = {"eta": f"{(self._total - self._done) / rate:.0f}s"} if self._total and rate else {}
            event(
                "reported_progress",
                activity=self._activity,
                done=self._done,
                total=self._total or "?",
                rate=f"{rate:.0f}/s",
                **remaining,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


class _Collector(logging.Handler):
    """Holds the events of one thread."""

    def __init__(self, thread: int) -> None:
        super().__init__()
        self._thread = thread
        self.lines: list[Line] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            fields = {key: str(value) for key, value in getattr(record, "fields", {}).items()}
            self.lines.append(Line(record.levelno, record.getMessage(), fields))


class _Recorder(logging.Handler):
    """Passes events on to `make run`."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self._stage = stage

    def emit(self, record: logging.LogRecord) -> None:
        kind = {logging.INFO: "event", logging.WARNING: "warning"}.get(record.levelno, "error")
        fields = {key: redact(str(value)) for key, value in getattr(record, "fields", {}).items()}
        events.record(self._stage, kind, message=redact(record.getMessage()), fields=fields)


class _Terminal(logging.Formatter):
    def __init__(self, stage: str) -> None:
        super().__init__()
        self._stage = stage

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return redact(f"[{self._stage}] {level}{record.getMessage()}{_pairs(record)}")


class _KeyValue(_Terminal):
    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        event = _quoted(record.getMessage())
        level = record.levelname.lower()
        return redact(f"time={when} level={level} stage={self._stage} event={event}{_pairs(record)}")


def _pairs(record: logging.LogRecord) -> str:
    fields: dict[str, object] = _RANK | getattr(record, "fields", {})
    return "".join(f" {key}={_quoted(str(value))}" for key, value in fields.items())


def _quoted(text: str) -> str:
    plain = text.split() == [text] and not any(character in text for character in '"=')
    return text if plain else json.dumps(text, ensure_ascii=False)
