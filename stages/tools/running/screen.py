"""One line per stage: its seconds and figures; on a terminal, a live line with a bar below."""

import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any

_BAR = 16
# What identifies a run or a file says nothing about the result.
_HIDDEN = {"run", "page", "model"}
_SECONDS_BETWEEN_LINES = 60.0


class Screen:
    """Shows the records of stages.common.events on standard output.

    Args:
        names: Names of all stages, for the width of their column.
        only_problems: Leave out what went well.
    """

    def __init__(self, names: list[str], *, only_problems: bool = False) -> None:
        self._only_problems = only_problems
        self._width = max(map(len, names), default=0)
        self._terminal = sys.stdout.isatty()
        self._figures: dict[str, dict[str, str]] = {}
        self._running = ""
        self._activity = ""
        self._started = self._reported = time.monotonic()
        self.seconds: dict[str, float] = {}
        self.start_up = 0.0
        self.errors = 0

    def show(self, record: Mapping[str, Any]) -> None:
        """Take in one record."""
        stage, kind = record["stage"], record["kind"]
        if self._only_problems and kind not in ("warning", "error"):
            return
        if kind == "started":
            self._running, self._activity = stage, ""
            self._started = self._reported = time.monotonic()
        elif kind == "progress":
            self._activity = _activity(record)
        elif kind == "event":
            self._collect(stage, record["fields"])
        elif kind == "finished":
            self._running = ""
            self.seconds[stage] = record["seconds"]
            self.start_up += record["start_up"]
            figures = self._figures.get(stage, {})
            self._line(f"{stage:<{self._width}} {record['seconds']:7.1f} s  ", figures)
        else:
            self.errors += kind == "error"
            fields = "".join(f" {key}={value}" for key, value in record["fields"].items())
            self.text(f"{stage}: {kind}: {record['message']}{fields}")

    def refresh(self) -> None:
        """Redraw the live line; without a terminal, say once a minute what a long stage does."""
        if not self._running:
            return
        now = time.monotonic()
        line = f"{self._running:<{self._width}} {now - self._started:7.0f} s  {self._activity}"
        if self._terminal:
            sys.stdout.write("\r" + line[: _columns() - 1] + "\x1b[K")
            sys.stdout.flush()
        elif now - self._reported >= _SECONDS_BETWEEN_LINES:
            self._reported = now
            self.text(f"{line} …")

    def text(self, line: str = "") -> None:
        """Print a line above the live one."""
        start = "\r\x1b[K" if self._terminal else ""
        sys.stdout.write(f"{start}{line}\n")
        sys.stdout.flush()

    def _collect(self, stage: str, fields: Mapping[str, str]) -> None:
        """The last event's figures count; those of the splits are put together."""
        if "activity" in fields:
            # Progress as a line of the log.
            return
        if {"decision", "reason"} <= set(fields):
            self._figures[stage] = {"": f"{fields['decision']}: {fields['reason']}"}
        elif "split" in fields and "images" in fields:
            self._figures.setdefault(stage, {})[fields["split"]] = fields["images"]
        else:
            self._figures[stage] = {key: value for key, value in fields.items() if key not in _HIDDEN}

    def _line(self, start: str, figures: Mapping[str, str]) -> None:
        """On a terminal, as many figures as fit; in a file, all."""
        room = _columns() - len(start) - 1 if self._terminal else sys.maxsize
        text = ""
        for key, value in figures.items():
            longer = f"{text}{', ' if text else ''}{_shown(key)} {value}".strip()
            if len(longer) > room:
                break
            text = longer
        if not text and figures:
            text = " ".join(next(iter(figures.items()))).strip()[: room - 1] + "…"
        self.text((start + text).rstrip())


def _shown(key: str) -> str:
    """A figure's key as people read it; with a blank, the split train-val would be taken for two figures."""
    return "train-val" if key == "train_val" else key.replace("_", " ")


def _activity(record: Mapping[str, Any]) -> str:
    done, total = record["done"], record["total"]
    if not total:
        return f"{record['activity']} {done:,}"
    full = round(_BAR * min(1.0, done / total))
    return f"{record['activity']} {'█' * full}{'░' * (_BAR - full)} {done:,}/{total:,}"


def _columns() -> int:
    return shutil.get_terminal_size().columns
