import re
from pathlib import Path

import pytest

from benchmarks import network_styles
from benchmarks.pipeline import Pipeline
from stages import params as typed
from stages.common.errors import ParamsError
from stages.models.learners import cnn


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return Pipeline.of_two_classes(tmp_path, 60, 16).packed


@pytest.fixture
def member() -> cnn.Params:
    member = typed.load(Path("params.yaml")).models["lenet"]
    assert isinstance(member, cnn.Params)
    return member.model_copy(update={"train": member.train.model_copy(update={"epochs": 1})})


@pytest.mark.slow
def test_prints_each_initializer_the_lowest_log_loss_first(
    packed: Path, member: cnn.Params, capsys: pytest.CaptureFixture[str]
) -> None:
    network_styles.compare("lenet", "initializer", params=member, data=packed, seeds=[1, 2])
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| `")]
    values = [
        re.fullmatch(r"\| `(\w+)` \| [01]\.\d{4} ± 0\.\d{4} \| (\d\.\d{4}) ± \d\.\d{4} \|", line)
        for line in table
    ]
    assert {match and match[1] for match in values} == {
        *("glorot_uniform", "glorot_normal", "he_uniform", "he_normal"),
        *("lecun_uniform", "lecun_normal", "uniform", "normal"),
    }
    losses = [float(match[2]) for match in values if match]
    assert losses == sorted(losses)
    assert len(set(losses)) > 1, "the initializer changes nothing"


def test_what_cannot_be_compared_is_refused(packed: Path, member: cnn.Params) -> None:
    with pytest.raises(ParamsError, match=r"--seeds has one seed; allowed: two or more"):
        network_styles.compare("lenet", "initializer", params=member, data=packed, seeds=[1])
    linear = typed.load(Path("params.yaml")).models["hog_logistic"]
    with pytest.raises(ParamsError, match=r"models.hog_logistic is of kind logistic_regression; must be cnn"):
        network_styles.compare("hog_logistic", "activation", params=linear, data=packed)
