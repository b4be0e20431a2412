"""run_stages: what DVC is started with, and that it changes no params of a run that is under way."""

import os
from pathlib import Path

import pytest

from stages import cli
from stages.tools.run_stages import run_stages
from stages.tools.running import watching
from tests.paths import ROOT


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the words that DVC is started with. A program in its place writes it."""
    for name in ("conf", "stages", "params.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    program = tmp_path / "bin" / "dvc"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@" >> started\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "started"


def test_stages_of_the_params_or_of_a_recipe(started: Path) -> None:
    cli.main(run_stages, ["pack"])
    cli.main(run_stages, ["pack", "extract", "--recipe", "digits"])
    assert started.read_text(encoding="utf-8").splitlines() == [
        "repro pack",
        "exp run pack extract -S recipe=digits",
    ]


def test_a_mistyped_member_is_named_before_a_stage_runs(
    started: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make sweep` resized, packed and extracted features first."""
    with pytest.raises(SystemExit):
        cli.main(run_stages, ["pack", "extract", "--recipe", "digits", "--member", "lenot"])
    error = capsys.readouterr().err
    assert "params have no models.lenot (did you mean lenet?); allowed here: hog_logistic" in error
    assert not started.exists()


def test_a_run_under_way_keeps_its_params(started: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`dvc exp run` writes params.yaml before it looks whether another run is under way."""
    with watching.reserved(), pytest.raises(SystemExit) as stop:
        cli.main(run_stages, ["pack", "--recipe", "digits"])
    assert stop.value.code == 75
    assert f"another make run is under way in {started.parent}" in capsys.readouterr().err
    assert not started.exists()
