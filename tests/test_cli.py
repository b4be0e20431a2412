"""The command line that stages, tools and applications share."""

import errno
import importlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stages import cli
from stages.common.errors import LockedError, SourceError
from stages.common.files import replace_atomically
from stages.params import Ensemble
from stages.tracking import Unreachable
from stages.train import train
from tests.paths import ROOT

PARAMS = ["--params", str(ROOT / "params.yaml")]


@cli.command(params="ensemble", epochs="models.{name}.train.epochs")
def bake(name: str, *, params: Ensemble, epochs: int, hot_oven: Path) -> None:
    """Bake one."""
    if name == "lenet":
        print(params.weights, epochs, hot_oven)  # noqa: T201
    elif name == "minivggnet":
        raise SourceError("no flour; buy some")
    raise KeyboardInterrupt


def test_options_follow_from_the_signature(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(bake, ["lenet", "--hot-oven", "a/b", *PARAMS])
    captured = capsys.readouterr()
    assert captured.out == "uniform 12 a/b\n"
    assert ended.value.code == 130
    assert "stopped by the keyboard" in captured.err


def test_an_error_is_one_line_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(bake, ["minivggnet", "--hot-oven", "x", *PARAMS])
    assert ended.value.code == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert 'level=error stage=test_cli event="no flour; buy some"' in errors


def test_a_transient_error_has_a_status_of_its_own() -> None:
    with pytest.raises(SystemExit) as ended, cli.error_boundary("bake"):
        raise Unreachable("tracking at x: no answer")
    assert ended.value.code == 75, "EX_TEMPFAIL: Airflow's worker tries again"


def test_a_name_that_the_params_do_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(train, ["vgg", "--data", "x", "--model", "y", *PARAMS])
    assert ended.value.code == 1
    assert (
        "params have no models.vgg; allowed here: hog_logistic, lenet, minivggnet" in capsys.readouterr().err
    )


def test_missing_params_are_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(bake, ["lenet", "--hot-oven", "x"])
    assert "params.yaml does not exist; run from the project's root" in capsys.readouterr().err


def test_a_missing_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(bake, ["lenet"])
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "--hot-oven" in errors
    assert "--help lists the options" in errors


def test_help_is_the_docstring_and_lists_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(train, ["--help"])
    output = capsys.readouterr().out
    assert "python -m stages.train" in output
    assert "Fit one member on the train split" in output
    for option in ("--data", "--model", "--params", "--debug"):
        assert option in output


def test_a_misspelled_option_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(bake, ["lenet", "--hot-ovn", "x", *PARAMS])
    assert ended.value.code == 2
    assert "Did you mean --hot-oven" in capsys.readouterr().err


def fail(*, how: str) -> None:
    """Fail in one of the ways that a command can fail."""
    match how:
        case "bug":
            raise ValueError("two\nlines")
        case "full":
            raise OSError(errno.ENOSPC, "No space left on device", "data/resized.h5")
        case "stale":
            raise OSError(errno.ESTALE, "Stale file handle", "data/resized.h5")
        case "missing":
            Path("nowhere").read_bytes()
        case "locked":
            raise LockedError("another process trains it")
        case "unknown":
            raise OSError("something")
        case "stopped":
            with replace_atomically(Path("output")) as aside:
                aside.write_text("half", encoding="utf-8")
                signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("how", "status", "message"),
    [
        ("full", 75, "data/resized.h5: No space left on device"),
        ("stale", 75, "data/resized.h5: Stale file handle"),
        ("locked", 75, "another process trains it"),
        ("unknown", 75, "something"),
        ("missing", 1, "nowhere: No such file or directory"),
        ("bug", 70, f"ValueError: two lines at {__file__}:"),
    ],
)
def test_every_error_is_one_line_with_a_status_by_its_type(
    how: str, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(fail, ["--how", how])
    assert ended.value.code == status
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert ("run again with --debug for the traceback" in line) == (how == "bug")


def test_sigterm_is_one_line_and_leaves_no_unfinished_output(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        cli.main(fail, ["--how", "stopped"])
    assert ended.value.code == 143
    (line,) = capsys.readouterr().err.splitlines()
    assert 'level=error stage=test_cli event="stopped by SIGTERM; run it again"' in line
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) is before


STOPPED_TWICE = """
import signal
import subprocess
import sys
from pathlib import Path
from stages import cli
from stages.common.files import replace_atomically
with cli.error_boundary("test"), replace_atomically(Path("output")):
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.raise_signal(signal.SIGTERM)
"""


def test_sigterm_to_a_group_and_to_its_members_is_one_request(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_TWICE],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 143
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("how", ["bug", "full", "locked", "missing"])
def test_debug_shows_the_traceback_of_any_error(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(fail, ["--how", how, "--debug"])
    *trace, last = capsys.readouterr().err.splitlines()
    assert trace[0] == "Traceback (most recent call last):"
    assert "level=error" in last, "the last line is still the reason"


def test_a_variable_shows_the_traceback_where_dvc_starts_the_stage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVOY_DEBUG", "1")
    with pytest.raises(SystemExit):
        cli.main(fail, ["--how", "full"])
    assert "Traceback" in capsys.readouterr().err


def test_a_stage_can_be_called_as_a_function(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = Ensemble(members=["lenet"], weights="uniform")
    with pytest.raises(KeyboardInterrupt):
        bake("lenet", params=params, epochs=3, hot_oven=tmp_path)
    assert capsys.readouterr().out == f"uniform 3 {tmp_path}\n"


PROGRAMS = [
    path
    for room in ("stages", "apps")
    for path in sorted((ROOT / room).rglob("*.py"))
    # Run by their paths in processes of their own, with the code of another version beside them.
    if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
    and path.name not in ("classifying.py", "cli.py", "judge.py", "plugins.py")
]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_program_has_the_one_command_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = path.read_text(encoding="utf-8")
    assert "argparse" not in text
    program = re.search(r'if __name__ == "__main__":\n    cli\.main\((\w+)\)\n$', text)
    assert program is not None, "the last line runs a function of this module"
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    cli.main(getattr(importlib.import_module(module), program[1]), ["--help"])
    output = capsys.readouterr().out
    assert output.startswith(f"Usage: python -m {module} ")
    assert "--debug" in output


def fitted(name: str, *, data: Path, model: Path, params: Any) -> None:
    """Fit.

    Args:
        name: The member.
        data: What it reads.
        model: What it writes.
        params: Its params.
    """
    print(name, data, model, params.kind)  # noqa: T201


@pytest.mark.parametrize("name", ["lenet", "train@lenet", "../dvc.yaml:train@lenet"])
def test_a_stage_of_dvcs_fills_its_name_and_input_into_paths(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    command = cli.command(params="models.{name}")(fitted)
    cli.main(command, [name, "--data", "{input}", "--model", "models/{name}"])
    assert capsys.readouterr().out == "lenet data/packed models/lenet cnn\n"
    with pytest.raises(SystemExit):
        cli.main(command, ["train@lenett", "--data", "{input}", "--model", "models/{name}"])
    assert "did you mean lenet?" in capsys.readouterr().err


@cli.command(params="models.{name}.train.epochs")
def edited(name: str, *, params: int, file: Path, change: str) -> None:
    """Change the params while the stage runs, as an editor or another run does.

    Args:
        name: The member.
        params: Its epochs.
        file: The params file.
        change: The line of the epochs that it has afterwards.
    """
    file.write_text(file.read_text(encoding="utf-8").replace("epochs: 12", change), encoding="utf-8")


def test_a_stage_whose_params_change_while_it_runs_fails_under_dvc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """DVC recorded the new values with the outputs of the old ones, and its cache gave them ever after."""
    file = tmp_path / "params.yaml"
    file.write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    words = ["lenet", "--file", str(file), "--params", str(file), "--change"]
    monkeypatch.setenv("DVC_STAGE", "train@lenet")
    cli.main(edited, [*words, "epochs: 12"])
    with pytest.raises(SystemExit) as stop:
        cli.main(edited, [*words, "epochs: 7"])
    assert stop.value.code == 1
    assert "params.yaml changed while this stage ran; run it again" in capsys.readouterr().err
