"""The tools that read what some stages make: what they start DVC with, and what they refuse before that."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from stages import cli, params
from stages.tools import _experiment
from stages.tools.learning_rate_finder import find_learning_rate
from stages.tools.preview import preview
from stages.tools.running import watching
from stages.tools.sweep import search
from tests.paths import ROOT


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the words that DVC is started with. A program in its place writes it, and fails."""
    for name in ("conf", "stages"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    program = tmp_path / "bin" / "dvc"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@" >> started\nexit 1\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "started"


def end(command: Callable[..., None], words: list[str]) -> object:
    """Run a command that must fail; returns its exit status."""
    with pytest.raises(SystemExit) as stop:
        cli.main(command, words)
    return stop.value.code


@pytest.mark.parametrize(
    ("command", "words", "stages"),
    [(search, ["lenet"], "pack extract"), (find_learning_rate, ["lenet"], "pack")],
)
def test_stages_of_the_params_or_of_a_recipe(
    started: Path, command: Callable[..., None], words: list[str], stages: str
) -> None:
    end(command, words)
    end(command, [*words, "--recipe", "digits", "--set", "seed=7 split_seed=8"])
    # Not `exp run`: `dvc exp show` had the metrics of an earlier run beside these params.
    assert started.read_text(encoding="utf-8").splitlines() == [f"repro {stages}"] * 2
    assert params.load(Path("params.yaml")).split_seed == 8


def test_a_preview_packs_where_a_member_augments(started: Path) -> None:
    augmented = "+augment@models.lenet.augment=a1"
    end(preview, ["--set", augmented])
    assert started.read_text(encoding="utf-8") == "repro pack\n"
    assert params.load(Path("params.yaml")).models["lenet"].model_dump()["augment"] is not None


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        (search, ["lenot"], "params have no models.lenot (did you mean lenet?); allowed here: hog_logistic"),
        (search, ["lenet", "--space", "nope.yaml"], "SPACE: nope.yaml does not exist"),
        (search, ["hog_logistic"], "params have no models.hog_logistic.optimizer"),
        (search, ["lenet", "--recipe", "lenet5_mnist"], "params have no models.lenet"),
        (find_learning_rate, ["lenot"], "params have no models.lenot (did you mean lenet?)"),
        (find_learning_rate, ["hog_logistic"], "is of kind logistic_regression; must be cnn"),
        (preview, [], "no member has an augment section; choose a set of conf/augment"),
        (preview, ["--set", "seed='1"], "SET: No closing quotation"),
    ],
)
def test_a_mistake_is_named_before_a_stage_runs(
    started: Path,
    capsys: pytest.CaptureFixture[str],
    command: Callable[..., None],
    words: list[str],
    message: str,
) -> None:
    """They resized, packed and extracted features first."""
    end(command, words)
    assert message in capsys.readouterr().err
    assert not started.exists()
    assert Path("params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


@pytest.mark.parametrize(
    ("command", "words"), [(search, ["lenet"]), (find_learning_rate, ["lenet"]), (preview, [])]
)
def test_a_run_under_way_keeps_its_params(
    started: Path, capsys: pytest.CaptureFixture[str], command: Callable[..., None], words: list[str]
) -> None:
    """`dvc exp run` writes params.yaml before it looks whether another run is under way."""
    with watching.reserved():
        assert end(command, [*words, "--recipe", "digits"]) == 75
    assert f"another make run is under way in {started.parent}" in capsys.readouterr().err
    assert not started.exists()


@pytest.mark.slow
def test_a_network_that_does_not_fit_is_named_before_a_stage_runs(
    started: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        _experiment.run(["recipe=digits", "++models.lenet.patch=[64,64]"], "evaluate")
    assert stop.value.code == 1
    assert "models.lenet: patch is 64x64, larger than resize.size, 16x16" in capsys.readouterr().err
    assert not started.exists()
