"""Logistic regression: what it chooses, what it refuses, and what its file holds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer

from stages.common.errors import LearnerError
from stages.common.files import write_json
from stages.common.history import History
from stages.data import store
from stages.models import learners
from stages.models.learners import logistic_regression


def params(**changes: Any) -> logistic_regression.Params:
    values: dict[str, Any] = {
        "kind": "logistic_regression",
        "code": "stages/models/learners/logistic_regression.py",
        "input": "features/pixels",
        "normalize": "standardize",
        "c": [1e-6, 0.1, 1.0],
        "folds": 3,
        "max_iter": 1000,
        "seed": 1,
    }
    return logistic_regression.Params.model_validate(values | changes)


def fit(folder: Path, **changes: Any) -> tuple[logistic_regression.LogisticRegression, History]:
    learner = logistic_regression.create(params(**changes))
    with store.Reader(folder / "train.h5") as train, store.Reader(folder / "val.h5") as val:
        return learner, learner.fit(train, val, lambda number, values: None)


def written(folder: Path, rows: np.ndarray, labels: np.ndarray) -> Path:
    """Features of our own as train.h5 and val.h5."""
    for split in ("train", "val"):
        ids = [f"{number:016d}" for number in range(len(rows))]
        shape = rows.shape
        with store.create(
            folder / f"{split}.h5",
            "features",
            shape,
            np.float32,
            ids=ids,
            provenance={"classes": ["no", "yes"]},
        ) as out:
            out.write(0, rows)
            out.columns["labels"] = labels
    return folder


def test_a_fitted_member_survives_saving(features: Path, tmp_path: Path) -> None:
    learner, _ = fit(features)
    learner.save(tmp_path)
    write_json(tmp_path / "spec.json", {"kind": "logistic_regression"})
    with store.Reader(features / "test.h5") as rows:
        probabilities = learners.predict_all(learner, rows)
        again = learners.predict_all(learners.load(tmp_path), rows)
        labels = rows.column("labels")
    np.testing.assert_array_equal(probabilities, again)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert (probabilities.argmax(axis=1) == labels).all()


def test_the_strength_with_the_lowest_loss_is_taken(tmp_path: Path) -> None:
    # One feature separates the classes, with a tenth of the labels wrong: trusting it fully costs most.
    draw = np.random.default_rng(0)
    labels = np.arange(200) % 2
    rows = np.where(draw.random(200) < 0.1, 1 - labels, labels).astype(np.float32)[:, None]
    learner, history = fit(written(tmp_path, rows, labels), c=[1e-5, 1.0])
    assert history["c"] == [1e-5, 1.0]
    weak, right = history["cv_log_loss"]
    assert right < weak == pytest.approx(np.log(2), abs=0.01)
    # About 0.9 certain, which the weaker would not be.
    assert learner.predict_proba(np.array([[1.0]], np.float32))[0, 1] == pytest.approx(0.9, abs=0.05)


def test_the_same_seed_gives_the_same_member(features: Path) -> None:
    _, first = fit(features)
    _, again = fit(features)
    assert first == again


def test_a_class_smaller_than_the_folds_is_refused(features: Path) -> None:
    with pytest.raises(LearnerError, match="13 folds need as many training images in each class; one has 12"):
        fit(features, folds=13)


def test_the_file_needs_no_trust_and_a_foreign_one_gets_none(features: Path, tmp_path: Path) -> None:
    learner, _ = fit(features)
    learner.save(tmp_path)
    file = tmp_path / "model.skops"
    assert skops.io.get_untrusted_types(file=file) == []

    write_json(tmp_path / "spec.json", {"kind": "logistic_regression"})
    skops.io.dump(FunctionTransformer(print), file)
    with pytest.raises(LearnerError, match=r"holds no model of this version.*builtins.print"):
        learners.load(tmp_path)
    file.write_bytes(b"no zip file")
    with pytest.raises(LearnerError, match="holds no model of this version"):
        learners.load(tmp_path)
