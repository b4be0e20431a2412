"""predict: a member's probabilities, image by image."""

from pathlib import Path

import numpy as np
import pytest

from stages.common.errors import LearnerError, StoreError
from stages.data import store
from stages.models import learners
from stages.params import Predict
from stages.predict import predict
from tests import members

CENTER = Predict(crops="center")


@pytest.fixture(scope="module")
def member(features: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fitted classifier's folder."""
    return members.fitted(features, tmp_path_factory.mktemp("member"))


def test_held_out_splits_get_probabilities(member: Path, features: Path, tmp_path: Path) -> None:
    predict("one", params=CENTER, model=member, data=features, predictions=tmp_path / "one")
    assert {file.name for file in (tmp_path / "one").iterdir()} == {"val.h5", "test.h5"}
    learner = learners.load(member)
    for split in ("val", "test"):
        with (
            store.Reader(tmp_path / "one" / f"{split}.h5") as reader,
            store.Reader(features / f"{split}.h5") as rows,
        ):
            assert (reader.key, reader.shape) == ("probabilities", (12, 3))
            np.testing.assert_array_equal(reader.ids, rows.ids)
            np.testing.assert_array_equal(reader.column("labels"), rows.column("labels"))
            np.testing.assert_array_equal(reader.read(0, 12), learner.predict_proba(rows.read(0, 12)))
            assert reader.provenance["member"] == "one"
            assert reader.provenance["classes"] == ["cat", "dog", "panda"]
            assert reader.provenance["manifest"] == rows.provenance["manifest"]


def test_without_a_member_or_data_nothing_is_written(member: Path, features: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LearnerError, match="holds no model of this version"):
        predict("one", params=CENTER, model=tmp_path / "empty", data=features, predictions=tmp_path / "one")
    with pytest.raises(StoreError, match="does not exist"):
        predict("one", params=CENTER, model=member, data=tmp_path / "empty", predictions=tmp_path / "one")
    assert {path.name for path in tmp_path.iterdir()} == {"empty"}
