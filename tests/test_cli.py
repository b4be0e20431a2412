"""The command line every stage shares."""

from pathlib import Path

import pytest

from stages import cli
from stages.common import log
from stages.common.errors import SourceError
from stages.params import Ensemble
from stages.tracking import Unreachable
from stages.train import train

ROOT = Path(__file__).parents[1]
PARAMS = ["--params", str(ROOT / "params.yaml")]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the log and the variables of other tests as they were."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    monkeypatch.setattr(log._LOGGER, "handlers", [])
    monkeypatch.setattr(log._LOGGER, "propagate", True)


@cli.stage(params="ensemble", epochs="models.{name}.train.epochs")
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
    said = capsys.readouterr()
    assert said.out == "uniform 12 a/b\n"
    assert ended.value.code == 130
    assert "stopped by the keyboard" in said.err


def test_a_mistake_that_can_be_mended_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(bake, ["minivggnet", "--hot-oven", "x", *PARAMS])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert 'level=error stage=bake event="no flour; buy some"' in said


def test_what_may_work_in_a_while_has_a_status_of_its_own() -> None:
    with pytest.raises(SystemExit) as ended, cli.told("bake"):
        raise Unreachable("tracking is away; this needs it")
    assert ended.value.code == 75, "EX_TEMPFAIL: under Airflow, a reason to try again"


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
    assert "required: --hot-oven" in capsys.readouterr().err


def test_help_is_the_functions_own_text(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(train, ["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "python -m stages.train" in said
    assert "Fit one member on the train split" in said


def test_a_stage_can_be_called_as_a_function(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = Ensemble(members=["lenet"], weights="uniform")
    with pytest.raises(KeyboardInterrupt):
        bake("lenet", params=params, epochs=3, hot_oven=tmp_path)
    assert capsys.readouterr().out == f"uniform 3 {tmp_path}\n"
