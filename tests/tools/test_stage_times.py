"""What stages take is recorded where asked for, and shown."""

from pathlib import Path

import pytest

from stages import cli
from stages.common import stage_times
from stages.tools.stage_times import show_stage_times


def work() -> None:
    """Do nothing."""


def test_each_stage_that_ran_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "times.jsonl"
    monkeypatch.setenv(stage_times.VARIABLE, str(file))
    # run_images starts the others, so its time is theirs.
    for stage in ("ingest", "train@lenet", "run_images"):
        monkeypatch.setenv("DVC_STAGE", stage)
        cli.main(work, [])
    monkeypatch.delenv(stage_times.VARIABLE)
    cli.main(work, [])
    cli.main(show_stage_times, [str(file)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["stage", "ingest", "train@lenet", "sum"]
    for row in stage_times.read(file):
        assert float(row["seconds"]) >= float(row["start_up"]) > 0


def test_a_run_in_which_no_stage_ran_shows_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(show_stage_times, [str(tmp_path / "none")])
    assert capsys.readouterr().out == ""
