"""What decides how floats are rounded is part of each key of what is stored."""

from pathlib import Path
from typing import Any

import pytest

from stages import train
from stages.data import store
from stages.models import environment, predicting
from stages.models.extractors import hog
from stages.models.feature_identity import follows_from
from stages.models.training import checkpoints
from tests import members

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


@pytest.fixture
def keys(features: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The function that gives all keys under a value of the variable; None: it is not set."""
    params = members.logistic_params()
    extractor = hog.Params(kind="hog", cell=8, block=2, bins=9)

    def under(value: str | None) -> list[object]:
        if value is None:
            monkeypatch.delenv(ONEDNN)
        else:
            monkeypatch.setenv(ONEDNN, value)
        with store.Reader(features / "train.h5") as rows:
            checkpoint = checkpoints.path_of("classifier", train._identity(params, rows))
        return [
            checkpoint,
            follows_from(extractor, (16, 16, 3)),
            predicting.follows_from("logistic_regression"),
        ]

    return under


def test_results_without_onednn_have_keys_of_their_own(keys: Any) -> None:
    usual, without = keys("1"), keys("0")
    assert [first == second for first, second in zip(usual, without, strict=True)] == [False] * 3


def test_results_with_onednn_keep_the_keys_that_do_not_name_it(keys: Any) -> None:
    assert keys("1") == keys("true") == keys(None)
    assert environment.variables() == {}
    assert set(environment.describe()) == {"packages", "backend", "machine"}
