"""Events: what a command does, for the program that shows it."""

from pathlib import Path

import pytest

from stages import cli
from stages.common import events
from stages.common.errors import SourceError


def fail() -> None:
    """Fail."""
    raise SourceError("no images")


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    reader = events.Reader(file)
    for text, records in [('{"n": 1}\n{"n"', [{"n": 1}]), (": 2", []), ("}\n", [{"n": 2}]), ("", [])]:
        with file.open("a", encoding="utf-8") as out:
            out.write(text)
        assert reader.read() == records


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_events_that_cannot_be_written_leave_the_exit_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(events.VARIABLE, "/dev/full")
    with pytest.raises(SystemExit) as stop:
        cli.main(fail, [])
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no images" in line
