"""What a person sees of a run, on a terminal of 80 columns and in a file."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.common import events, log
from stages.tools.running.screen import Screen

INGEST = {
    "stage": "ingest",
    "kind": "event",
    "message": "ingested_images",
    "fields": {f"figure_{number}": "1,234,567" for number in range(9)},
}
FINISHED = {"stage": "ingest", "kind": "finished", "seconds": 2.13, "start_up": 1.0}


def show(*records: dict[str, object]) -> None:
    screen = Screen(["ingest", "extract@hog"])
    for record in records:
        screen.show(record)
        screen.refresh()


def test_a_stage_is_one_line_with_its_seconds_and_figures(capsys: pytest.CaptureFixture[str]) -> None:
    show(INGEST | {"fields": {"images": "120", "decoded": "36"}}, FINISHED)
    assert capsys.readouterr().out == "ingest          2.1 s  images 120, decoded 36\n"


def test_splits_are_put_together_and_a_verdict_has_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    pack = [
        {"stage": "pack", "kind": "event", "message": "packed", "fields": {"split": split, "images": count}}
        for split, count in (("train", "84"), ("train_val", "9"), ("val", "18"))
    ]
    verdict = {"message": "judged_challenger", "fields": {"decision": "refused", "reason": "too few images"}}
    progress = {"message": "reported_progress", "fields": {"activity": "packing test", "done": "3"}}
    show(*pack, {"stage": "pack", "kind": "event", **progress}, FINISHED | {"stage": "pack"})
    show({"stage": "promote", "kind": "event", **verdict}, FINISHED | {"stage": "promote"})
    assert capsys.readouterr().out.splitlines() == [
        "pack            2.1 s  train 84, train-val 9, val 18",
        "promote         2.1 s  refused: too few images",
    ]


def test_warnings_and_errors_are_shown_with_their_stage(capsys: pytest.CaptureFixture[str]) -> None:
    show({"stage": "train@lenet", "kind": "warning", "message": "slow disk", "fields": {"rate": "3"}})
    assert capsys.readouterr().out == "train@lenet: warning: slow disk rate=3\n"


def test_a_terminal_has_a_bar_and_no_line_is_wider_than_it(tmp_path: Path) -> None:
    progress = {"stage": "ingest", "kind": "progress", "activity": "reading images", "done": 60, "total": 120}
    started = {"stage": "ingest", "kind": "started"}
    drawn = on_terminal(lambda: show(started, progress, INGEST, FINISHED))
    assert "reading images ████████░░░░░░░░ 60/120" in drawn
    lines = [line for part in drawn.split("\n") for line in part.replace("\x1b[K", "").split("\r")]
    assert max(map(len, lines)) <= 80
    assert "ingest          2.1 s  figure 0 1,234,567, figure 1 1,234,567" in lines


def on_terminal(program: Callable[[], None]) -> str:
    """What a program draws on a terminal of 80 columns."""
    reader, writer = os.openpty()
    before = sys.stdout
    with os.fdopen(writer, "w", encoding="utf-8") as terminal:
        sys.stdout = terminal
        try:
            os.environ["COLUMNS"] = "80"
            program()
        finally:
            sys.stdout = before
            del os.environ["COLUMNS"]
        terminal.flush()
        drawn = b""
        while not drawn.endswith(b"\n"):
            drawn += os.read(reader, 1 << 16)
    os.close(reader)
    return drawn.decode().replace("\r\n", "\n")


def test_a_process_records_its_events_for_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "events.jsonl"
    monkeypatch.setenv(events.VARIABLE, str(file))
    monkeypatch.setenv("DVC_STAGE", "train@lenet")
    reader = events.Reader(file)
    assert reader.read() == []
    log.configure("train")
    with events.recorded("train"):
        log.event("trained", val_accuracy="0.98")
    started, event, finished = reader.read()
    assert {record["stage"] for record in (started, event, finished)} == {"train@lenet"}
    assert (started["kind"], event["fields"]) == ("started", {"val_accuracy": "0.98"})
    assert 0 < finished["start_up"] <= finished["seconds"]
    assert reader.read() == []
