"""ensemble: the average of the members that the params name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.common.errors import StoreError
from stages.common.files import read_json
from stages.data import store
from stages.ensemble import ensemble
from stages.params import Ensemble
from stages.scoring import weighting

A = np.array([[0.8, 0.2], [0.4, 0.6]], np.float32)
B = np.array([[0.2, 0.8], [0.0, 1.0]], np.float32)
IDS = ["a" * 16, "b" * 16]


def write(root: Path, member: str, probabilities: np.ndarray, **changes: Any) -> None:
    """A member's predictions on both splits."""
    fields: dict[str, Any] = {"ids": IDS, "manifest": "m", "splits": ("val", "test")} | changes
    for split in fields["splits"]:
        path = root / member / f"{split}.h5"
        provenance = {"member": member, "classes": ["x", "y"], "manifest": fields["manifest"]}
        with store.create(
            path, "probabilities", (2, 2), np.float32, ids=fields["ids"], provenance=provenance
        ) as out:
            out.write(0, probabilities)
            out.columns["labels"] = np.array([0, 1])


def average(root: Path, members: list[str], weights: Any = "uniform") -> np.ndarray:
    params = Ensemble(members=members, weights=weights)
    ensemble(params, predictions=root / "predictions", ensemble=root / "ensemble")
    with (
        store.Reader(root / "ensemble" / "test.h5") as test,
        store.Reader(root / "ensemble" / "val.h5") as val,
    ):
        np.testing.assert_array_equal(test.read(0, 2), val.read(0, 2))
        assert test.ids.tolist() == IDS
        assert test.column("labels").tolist() == [0, 1]
        return test.read(0, 2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "predictions", "a", A)
    write(tmp_path / "predictions", "b", B)
    return tmp_path


def test_uniform_weights_give_the_mean(root: Path) -> None:
    np.testing.assert_allclose(average(root, ["a", "b"]), [[0.5, 0.5], [0.2, 0.8]], atol=1e-7)


def test_weights_are_relative(root: Path) -> None:
    expected = [[0.65, 0.35], [0.3, 0.7]]
    np.testing.assert_allclose(average(root, ["a", "b"], {"a": 3, "b": 1}), expected, atol=1e-7)
    np.testing.assert_allclose(average(root, ["b", "a"], {"a": 0.6, "b": 0.2}), expected, atol=1e-7)


def test_one_member_is_its_own_average(root: Path) -> None:
    np.testing.assert_array_equal(average(root, ["b"]), B)


def test_members_of_earlier_params_that_still_lie_there_do_not_count(root: Path) -> None:
    write(root / "predictions", "stray", np.full((2, 2), 9, np.float32), manifest="older")
    np.testing.assert_allclose(average(root, ["a", "b"]), [[0.5, 0.5], [0.2, 0.8]], atol=1e-7)


def test_it_says_whose_average_it_is(root: Path) -> None:
    average(root, ["a", "b"], {"a": 3, "b": 1})
    with store.Reader(root / "ensemble" / "test.h5") as reader:
        assert reader.provenance["member"] == "ensemble"
        assert reader.provenance["weights"] == {"a": 0.75, "b": 0.25}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": IDS[::-1]}, "are of different images; run predict again"),
        ({"manifest": "another"}, "are of different images; run predict again"),
        ({"splits": ()}, "does not exist; run the stage that makes it"),
    ],
)
def test_members_that_do_not_go_together_are_refused(
    root: Path, changes: dict[str, Any], message: str
) -> None:
    write(root / "predictions", "c", A, **changes)
    with pytest.raises(StoreError, match=message):
        average(root, ["a", "c"])
    assert {path.name for path in root.iterdir()} == {"predictions"}


def classes_of(sure: float, right: list[int]) -> np.ndarray:
    """Probabilities of two classes: `sure` of the class in each place of `right`."""
    return np.array([[sure, 1 - sure] if label == 0 else [1 - sure, sure] for label in right], np.float32)


@pytest.fixture
def members(tmp_path: Path) -> Path:
    """Six images. `good` and `other` each miss one, another one; `noise` is surely wrong on most."""
    labels = [0, 1, 0, 1, 0, 1]
    probabilities = {
        "good": classes_of(0.8, [1, 1, 0, 1, 0, 1]),
        "other": classes_of(0.8, [0, 1, 0, 1, 0, 0]),
        "noise": classes_of(0.99, [1, 0, 1, 0, 0, 1]),
    }
    for member, predicted in probabilities.items():
        for split in ("val", "test"):
            path = tmp_path / "predictions" / member / f"{split}.h5"
            provenance = {"member": member, "classes": ["x", "y"], "manifest": "m"}
            ids = [f"{split}{number}" for number in range(6)]
            with store.create(
                path, "probabilities", (6, 2), np.float32, ids=ids, provenance=provenance
            ) as out:
                out.write(0, predicted)
                out.columns["labels"] = np.array(labels)
    return tmp_path


def chosen(root: Path, weights: str, names: tuple[str, ...] = ("good", "other", "noise")) -> Any:
    """What ensemble.json says."""
    params = Ensemble(members=list(names), weights=weights)
    ensemble(params, predictions=root / "predictions", ensemble=root / "ensemble")
    return read_json(root / "ensemble" / "ensemble.json")


def test_accuracy_on_val_weighs_the_members(members: Path) -> None:
    weights = chosen(members, "val_accuracy")
    assert weights["weighting"] == "val_accuracy"
    assert weights["weights"] == pytest.approx({"good": 5 / 12, "other": 5 / 12, "noise": 2 / 12})
    with store.Reader(members / "ensemble" / "test.h5") as rows:
        assert rows.provenance["weights"] == weights["weights"]


def test_greedy_selection_leaves_out_what_does_not_help(members: Path) -> None:
    weights = chosen(members, "greedy")
    assert weights["weights"] == {"good": 0.5, "other": 0.5, "noise": 0.0}
    assert weights["val"]["ensemble"]["log_loss"] < weights["val"]["members"]["good"]["log_loss"]


def test_a_strong_member_is_taken_more_often_than_a_weak_one() -> None:
    draw = np.random.default_rng(0)
    strong, weak = (np.clip(0.5 + skill + draw.normal(0, 0.3, 400), 0.02, 0.98) for skill in (0.2, 0.1))
    weights = weighting.greedy({"strong": strong, "weak": weak})
    assert 0 < weights["weak"] < weights["strong"]
    assert sum(weights.values()) == pytest.approx(1)
    alone, mixed = (
        -np.log(probabilities).mean()
        for probabilities in (strong, weights["strong"] * strong + weights["weak"] * weak)
    )
    assert mixed < alone


def test_it_says_what_the_members_gain_and_where_they_differ(members: Path) -> None:
    weights = chosen(members, "uniform", ("good", "other"))
    val = weights["val"]
    assert val["disagreement"]["good"] == {"good": 0.0, "other": pytest.approx(2 / 6)}
    assert {name: scores["accuracy"] for name, scores in val["members"].items()} == pytest.approx(
        {"good": 5 / 6, "other": 5 / 6}
    )
    accuracy = val["ensemble"]["accuracy"]
    assert val["accuracy_gain"] == pytest.approx(
        {"over_mean": accuracy - 5 / 6, "over_best": accuracy - 5 / 6}
    )


@pytest.mark.parametrize("weights", ["uniform", "val_accuracy", "greedy"])
def test_the_test_split_chooses_nothing(members: Path, weights: str) -> None:
    before = chosen(members, weights)
    for member in ("good", "other", "noise"):
        path = members / "predictions" / member / "test.h5"
        with store.Reader(path) as rows:
            ids, provenance, turned = rows.ids, rows.provenance, rows.read(0, 6)[:, ::-1]
        with store.create(path, "probabilities", (6, 2), np.float32, ids=ids, provenance=provenance) as out:
            out.write(0, turned)
            out.columns["labels"] = np.zeros(6, np.int64)
    assert chosen(members, weights) == before
