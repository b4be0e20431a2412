import re
from pathlib import Path

import pytest

from benchmarks import plain_fit
from benchmarks.pipeline import Pipeline
from stages import params as typed
from stages.common.errors import ParamsError
from stages.models.learners.cnn import Params


@pytest.fixture
def member() -> Params:
    member = typed.load(Path("params.yaml")).models["lenet"]
    assert isinstance(member, Params)
    return member.model_copy(update={"augment": None, "train": member.train.model_copy(update={"epochs": 2})})


@pytest.mark.slow
def test_prints_both_accuracies(tmp_path: Path, member: Params, capsys: pytest.CaptureFixture[str]) -> None:
    packed = Pipeline.of_two_classes(tmp_path, 60, 16).packed
    plain_fit.compare("lenet", params=member, data=packed, seeds=[1, 2])
    *seeds, difference = capsys.readouterr().out.splitlines()
    for seed, line in zip((1, 2), seeds, strict=True):
        assert re.fullmatch(
            rf"lenet, seed {seed}: test accuracy [01]\.\d{{4}}, Keras' fit [01]\.\d{{4}}", line
        )
    assert re.match(r"difference -?[01]\.\d{4}, 95 % interval", difference)


def test_a_member_that_fit_cannot_train_is_refused(tmp_path: Path, member: Params) -> None:
    patched = member.model_copy(update={"patch": (8, 8)})
    with pytest.raises(ParamsError, match=r"models\.lenet has augment, patch or train\.steps"):
        plain_fit.compare("lenet", params=patched, data=tmp_path)
