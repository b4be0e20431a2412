"""The scikit-learn classifiers: what all of them promise, on images and on features."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
import yaml
from pydantic import TypeAdapter, ValidationError

from stages.common.errors import LearnerError
from stages.common.files import write_json
from stages.common.history import History
from stages.data import store
from stages.data.store import Reader
from stages.models import learners
from stages.models.learners import _incremental, _linear, _sklearn, random_forest
from stages.models.protocols import Learner, LearnerParams
from stages.params import Model

MODELS = Path(__file__).parents[3] / "conf" / "model"
KINDS = ["knn", "sgd", "perceptron", "mlp", "logistic_regression", "random_forest"]
INCREMENTAL = ["sgd", "perceptron", "mlp"]


def params(kind: str, **changes: Any) -> LearnerParams:
    """The defaults of conf/model, reading images."""
    values = yaml.safe_load((MODELS / f"{kind}.yaml").read_text(encoding="utf-8"))
    if kind == "logistic_regression":
        # Five strengths in three folds are sixteen fits, of which none is looked at here.
        values |= {"c": [0.1], "folds": 2}
    if kind == "random_forest":
        values |= {"trees": 20}
    values |= {"input": "data/packed", "seed": 1} | changes
    return TypeAdapter(Model).validate_python(values)


def fit(folder: Path, kind: str, **changes: Any) -> tuple[Learner, History]:
    learner = learners.create(params(kind, **changes))
    with Reader(folder / "train.h5") as train, Reader(folder / "val.h5") as val:
        return learner, learner.fit(train, val, lambda number, values: None)


def written(folder: Path, rows: Any, labels: Any, classes: int = 2) -> Path:
    """Features of our own as train.h5 and val.h5."""
    rows = np.asarray(rows, np.float32)
    ids = [f"{number:016d}" for number in range(len(rows))]
    provenance = {"classes": [f"class {number}" for number in range(classes)]}
    for split in ("train", "val"):
        file = folder / f"{split}.h5"
        with store.create(file, "features", rows.shape, np.float32, ids=ids, provenance=provenance) as out:
            out.write(0, rows)
            out.columns["labels"] = np.asarray(labels)
    return folder


def answers(learner: Learner, folder: Path) -> list[int]:
    with Reader(folder / "train.h5") as rows:
        return learners.predict_all(learner, rows).argmax(axis=1).tolist()


@pytest.mark.parametrize("normalize", [None, "scale", "standardize"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_separable_set_of_images_is_learnt_and_survives_saving(
    packed: Any, tmp_path: Path, kind: str, normalize: str | None
) -> None:
    learner, _ = fit(packed.packed, kind, normalize=normalize)
    learner.save(tmp_path)
    write_json(tmp_path / "spec.json", {"kind": kind})
    # What skops does not trust by itself, learners/random_forest.py checks.
    checked = ["sklearn.tree._tree.Tree"] if kind == "random_forest" else []
    assert skops.io.get_untrusted_types(file=tmp_path / "model.skops") == checked
    with Reader(packed.packed / "test.h5") as rows:
        probabilities = learners.predict_all(learner, rows)
        again = learners.predict_all(learners.load(tmp_path), rows)
        labels = rows.column("labels")
    assert (probabilities.dtype.name, probabilities.shape) == ("float32", (len(labels), 3))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(again, probabilities, atol=1e-6)
    # On raw pixels every step of gradient descent overshoots: Starter Bundle ch. 9 got to 55 %.
    if (kind, normalize) != ("sgd", None):
        assert (probabilities.argmax(axis=1) == labels).all()


def test_a_new_process_loads_every_kind_and_imports_no_other_estimators(packed: Any, tmp_path: Path) -> None:
    for kind, normalize in zip(KINDS, ["scale", "standardize", "l2", None] * 2, strict=False):
        learner, _ = fit(packed.packed, kind, normalize=normalize)
        (tmp_path / kind).mkdir()
        learner.save(tmp_path / kind)
        write_json(tmp_path / kind / "spec.json", {"kind": kind})
    script = """
import sys
from pathlib import Path
from stages.models import learners
print(*(type(learners.load(Path(sys.argv[1]) / kind)).__name__ for kind in sys.argv[2:]))
print(*(name for name in ("sklearn.gaussian_process", "sklearn.mixture") if name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path, *KINDS],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded, others = done.stdout.splitlines()
    assert len(loaded.split()) == len(KINDS)
    assert not others


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_learnt_the_same_way_twice(features: Path, kind: str) -> None:
    first, history = fit(features, kind, input="features/pixels", normalize="standardize")
    again, repeated = fit(features, kind, input="features/pixels", normalize="standardize")
    assert history == repeated
    with Reader(features / "test.h5") as rows:
        before, after = learners.predict_all(first, rows), learners.predict_all(again, rows)
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("kind", INCREMENTAL)
def test_epochs_are_reported_as_those_of_networks_are(packed: Any, kind: str) -> None:
    reported = []
    learner = learners.create(params(kind, epochs=3))
    with Reader(packed.packed / "train.h5") as train, Reader(packed.packed / "val.h5") as val:
        history = learner.fit(train, val, lambda number, values: reported.append((number, set(values))))
    series = {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert reported == [(1, series), (2, series), (3, series)]
    assert history["epoch"] == [1.0, 2.0, 3.0]
    assert {len(values) for values in history.values()} == {3}


@pytest.mark.parametrize("kind", INCREMENTAL)
def test_data_in_many_batches_are_learnt_as_well(
    packed: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(_incremental, "_BATCH_BYTES", 7 * 4 * 16 * 16 * 3)
    learner, _ = fit(packed.packed, kind, normalize="standardize", epochs=4)
    with Reader(packed.packed / "test.h5") as rows:
        assert (learners.predict_all(learner, rows).argmax(axis=1) == rows.column("labels")).all()


@pytest.mark.parametrize("penalty", [None, "l1", "l2", "elasticnet"])
@pytest.mark.parametrize("loss", ["log_loss", "hinge", "squared_hinge"])
def test_losses_and_penalties_of_linear_classifiers(packed: Any, loss: str, penalty: str | None) -> None:
    changes = {"normalize": "standardize", "alpha": 0.1, "learning_rate": 0.001}
    learner, _ = fit(packed.packed, "sgd", loss=loss, penalty=penalty, **changes)
    assert isinstance(learner, _sklearn.Classifier)
    with Reader(packed.packed / "test.h5") as rows:
        assert (learners.predict_all(learner, rows).argmax(axis=1) == rows.column("labels")).all()
    zeros = float((learner.model.named_steps["classify"].coef_ == 0).mean())
    assert zeros > 0.1 if penalty == "l1" else zeros > 0 if penalty == "elasticnet" else zeros == 0


def test_elastic_net_mixes_the_two_penalties(packed: Any) -> None:
    """Starter Bundle ch. 9: a share of 1 is L1 and sets weights to 0, a share of 0 is L2."""
    changes = {"normalize": "standardize", "alpha": 0.1, "learning_rate": 0.001, "penalty": "elasticnet"}

    def weights(**share: Any) -> np.ndarray:
        learner, _ = fit(packed.packed, "sgd", **changes | share)
        assert isinstance(learner, _sklearn.Classifier)
        coefficients: np.ndarray = learner.model.named_steps["classify"].coef_
        return coefficients

    np.testing.assert_allclose(weights(l1_ratio=0.0), weights(penalty="l2"), rtol=1e-9)
    np.testing.assert_allclose(weights(l1_ratio=1.0), weights(penalty="l1"), rtol=1e-9)
    zeros = [float((weights(l1_ratio=share) == 0).mean()) for share in (0.0, 0.5, 1.0)]
    assert zeros == sorted(zeros)
    assert zeros[0] < zeros[2]


@pytest.mark.parametrize(("target", "right"), [([0, 1, 1, 1], 4), ([0, 0, 0, 1], 4), ([0, 1, 1, 0], 3)])
def test_a_perceptron_learns_or_and_and_but_not_xor(tmp_path: Path, target: list[int], right: int) -> None:
    """Starter Bundle ch. 10: a plane parts the first two and cannot part the third."""
    bits = [[0, 0], [0, 1], [1, 0], [1, 1]]
    folder = written(tmp_path, bits, target)
    learner, _ = fit(folder, "perceptron", input="features/bits", normalize=None)
    correct = sum(answer == wanted for answer, wanted in zip(answers(learner, folder), target, strict=True))
    assert correct == 4 if right == 4 else correct <= right


def test_a_hidden_layer_learns_xor(tmp_path: Path) -> None:
    folder = written(tmp_path, [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0])
    changes = {"input": "features/bits", "normalize": None, "hidden": [8], "activation": "tanh"}
    learner, history = fit(folder, "mlp", learning_rate=0.05, epochs=200, **changes)
    assert answers(learner, folder) == [0, 1, 1, 0]
    assert history["loss"][-1] < 0.1


def test_scores_become_probabilities_as_sure_as_they_are_right() -> None:
    draw = np.random.default_rng(0)
    truth = draw.normal(0, 2, (5000, 3))
    odds = np.exp(truth) / np.exp(truth).sum(axis=1, keepdims=True)
    labels = np.array([draw.choice(3, p=chances) for chances in odds])
    assert _linear.temperature(truth * 1000, labels) == pytest.approx(1000, rel=0.1)
    assert _linear.temperature(np.zeros((4, 3)), np.zeros(4, np.int64)) == 1.0


def test_scores_that_are_all_right_do_not_become_certain() -> None:
    """Probabilities were 1 and 2e-29; a wrong answer of another row costs 66 nats."""
    of_two_rows = _linear.temperature(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([0, 1]))
    assert 0.6 < 1 / (1 + np.exp(-2 / of_two_rows)) < 0.9
    scores = np.tile([[1.0, -1.0], [-1.0, 1.0]], (500, 1))
    of_a_thousand = _linear.temperature(scores, np.tile([0, 1], 500))
    assert 0.99 < 1 / (1 + np.exp(-2 / of_a_thousand)) < 0.9999


def test_the_temperature_of_more_scores_than_memory_holds_comes_from_a_sample(
    packed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = learners.create(params("sgd"))
    assert isinstance(learner, _linear.Linear)
    with Reader(packed.packed / "train.h5") as train:
        every, of_every = learner._scores_of_unseen(train)
        monkeypatch.setattr(_linear, "_SCORE_BYTES", 8 * 3 * 20)
        sampled, labels = learner._scores_of_unseen(train)
        np.testing.assert_array_equal(of_every, train.column("labels"))
    assert (every.shape, sampled.shape, labels.shape) == ((36, 3), (20, 3), (20,))
    # The models are those of before: each sampled row has the scores that it had.
    for row, label in zip(sampled, labels.tolist(), strict=True):
        nearest = int(np.abs(every - row).max(axis=1).argmin())
        np.testing.assert_allclose(every[nearest], row, rtol=1e-6)
        assert label == of_every[nearest]


def test_a_tree_that_points_outside_of_itself_is_refused(features: Path) -> None:
    learner, _ = fit(features, "random_forest", input="features/pixels", trees=1)
    assert isinstance(learner, random_forest.RandomForest)
    tree = learner.model.named_steps["classify"].estimators_[0].tree_
    random_forest._check(tree)
    for field, value in (("left_child", 10**6), ("right_child", 0), ("feature", 10**6)):
        state = tree.__getstate__()
        state["nodes"] = state["nodes"].copy()
        state["nodes"][field][0] = value
        hostile = type(tree)(tree.n_features, np.asarray([tree.max_n_classes]), tree.n_outputs)
        hostile.__setstate__(state)
        with pytest.raises(ValueError, match="points outside of itself"):
            random_forest._check(hostile)


def test_a_forest_s_trees_have_the_depth_and_the_leaves_of_the_params(features: Path) -> None:
    def trees(**changes: Any) -> list[Any]:
        learner, _ = fit(features, "random_forest", input="features/pixels", trees=5, **changes)
        assert isinstance(learner, random_forest.RandomForest)
        return [estimator.tree_ for estimator in learner.model.named_steps["classify"].estimators_]

    def smallest_leaf(tree: Any) -> int:
        return int(tree.n_node_samples[tree.children_left < 0].min())

    assert max(tree.max_depth for tree in trees()) > 1
    assert {tree.max_depth for tree in trees(max_depth=1)} == {1}
    assert min(map(smallest_leaf, trees())) < 12 <= min(map(smallest_leaf, trees(min_leaf=12)))


def test_neighbours_vote_and_near_ones_may_count_for_more(tmp_path: Path) -> None:
    folder = written(tmp_path, [[0.0], [3.0], [4.0]], [0, 1, 1])
    near = np.array([[1.0]], np.float32)
    common = {"input": "features/x", "neighbors": 3}
    vote, _ = fit(folder, "knn", **common)
    np.testing.assert_allclose(vote.predict_proba(near), [[1 / 3, 2 / 3]], rtol=1e-6)
    weighted, _ = fit(folder, "knn", weights="distance", metric="manhattan", **common)
    # 1, 1/2 and 1/3.
    np.testing.assert_allclose(weighted.predict_proba(near), [[6 / 11, 5 / 11]], rtol=1e-6)


def test_a_fit_that_did_not_converge_is_one_line_in_the_log(
    features: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    with caplog.at_level(logging.WARNING, logger="convoy"):
        fit(features, "logistic_regression", input="features/pixels", max_iter=1, folds=2, c=[1.0])
    lines = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == 1
    fields = lines[0].fields  # type: ignore[attr-defined]
    assert "failed to converge" in fields["text"]
    assert fields["times"] == 3
    assert not list(recwarn)


def test_a_class_without_training_images_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path, [[0.0], [1.0]], [0, 2], classes=3)
    for kind in KINDS:
        with pytest.raises(LearnerError, match=r"train\.h5 has no image of class 1"):
            fit(folder, kind, input="features/x", normalize=None)


@pytest.mark.parametrize("kind", ["knn", "logistic_regression", "random_forest"])
def test_a_split_larger_than_memory_is_refused_at_once(
    features: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    with pytest.raises(LearnerError, match="sgd, perceptron and mlp learn from any size"):
        fit(features, kind, input="features/pixels", normalize="standardize")


def test_scale_is_refused_for_features() -> None:
    with pytest.raises(ValidationError, match="scale is of pixels; allowed: null, standardize, l2"):
        params("sgd", input="features/hog", normalize="scale")


@pytest.mark.parametrize("kind", ["logistic_regression", "sgd"])
def test_with_l2_the_length_of_a_row_does_not_count(features: Path, tmp_path: Path, kind: str) -> None:
    learner, _ = fit(features, kind, input="features/pixels", normalize="l2")
    learner.save(tmp_path)
    write_json(tmp_path / "spec.json", {"kind": kind})
    assert skops.io.get_untrusted_types(file=tmp_path / "model.skops") == []
    with Reader(features / "test.h5") as rows:
        vectors = rows.read(0, len(rows))
    probabilities = learner.predict_proba(vectors)
    np.testing.assert_allclose(learners.load(tmp_path).predict_proba(vectors / 10), probabilities, atol=1e-4)


def test_rows_in_an_order_of_their_own_are_calibrated_as_well(tmp_path: Path) -> None:
    """Every third row is of the same class: folds of every third row would each lack one."""
    labels = np.arange(90) % 3
    places = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])[labels]
    rows = places + np.random.default_rng(0).normal(0, 0.1, (90, 2))
    folder = written(tmp_path, rows, labels, classes=3)
    changes = {"normalize": "standardize", "epochs": 20, "learning_rate": 0.1}
    _, history = fit(folder, "sgd", input="features/x", **changes)
    # Each fold would have called its own class the least likely, and nothing be surer than chance: 1.1.
    assert history["val_loss"][-1] < 0.3
