"""Events and progress, on a terminal and off it."""

import io
import re
import shlex
import sys
import time

import pytest

from stages.common import log


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_events_are_key_value_pairs_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("resize")
    log.event("resized_images", images=3, size="16x16")
    pattern = (
        r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ level=info stage=resize "
        r"event=resized_images images=3 size=16x16\n"
    )
    assert re.fullmatch(pattern, capsys.readouterr().err)


@pytest.mark.parametrize(
    "value", ["two words", 'a "quote"', "a=b", "two\nlines", "", "Gänse", "tab\there", "a\rb"]
)
def test_an_event_is_one_line_whatever_its_values(capsys: pytest.CaptureFixture[str], value: str) -> None:
    log.configure("resize")
    log.warning("skipped_files", where=value)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "level=warning stage=resize event=skipped_files where=" in line
    # A shell's rules read it back as one word per pair.
    assert len(shlex.split(line)) == 5
    assert value.isascii() or value in line


def test_errors_have_their_level(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("resize")
    log.error("no such file")
    assert 'level=error stage=resize event="no such file"\n' in capsys.readouterr().err


def test_events_are_prose_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    log.configure("mean")
    log.event("computed_mean", images=3)
    log.error("stopped")
    assert terminal.getvalue() == "[mean] computed_mean images=3\n[mean] error: stopped\n"


def test_configuring_twice_does_not_double_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("resize")
    log.configure("resize")
    log.event("once")
    assert capsys.readouterr().err.count("once") == 1


def test_progress_off_a_terminal_is_a_line_every_few_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log.configure("resize")
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with log.Progress("resizing", total=300, unit="image") as progress:
        for _ in range(20):
            now += 1.0
            progress.advance(10)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert "event=reported_progress activity=resizing done=50 total=300 rate=10/s eta=25s" in lines[0]
    assert "done=200 total=300 rate=10/s eta=10s" in lines[3]


@pytest.mark.parametrize(
    ("total", "done", "line"),
    [(0, 60, "done=60 total=? rate=10/s\n"), (300, 0, "done=0 total=300 rate=0/s\n")],
    ids=["no known end", "nothing done yet"],
)
def test_progress_that_cannot_know_its_end_has_no_eta(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, total: int, done: int, line: str
) -> None:
    """`extract` counts what is stored, which may be nothing; it ended by a division by zero."""
    log.configure("extract")
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with log.Progress("extracting", total=total, unit="image") as progress:
        now += 6.0
        progress.advance(done)
    assert capsys.readouterr().err.endswith(line)


def test_progress_on_a_terminal_is_a_bar_with_rate_and_eta(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with log.Progress("packing train", total=10, unit="image") as progress:
        progress.advance(5)
        assert progress._bar is not None
        progress._bar.refresh()
    assert re.search(r"packing train: +50%.*5/10 \[\d\d:\d\d<.* image/s\]", terminal.getvalue())
