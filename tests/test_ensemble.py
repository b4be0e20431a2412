"""ensemble: the average of the members that the params name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.data import store
from stages.ensemble import ensemble
from stages.errors import StoreError
from stages.params import Ensemble

A = np.array([[0.8, 0.2], [0.4, 0.6]], np.float32)
B = np.array([[0.2, 0.8], [0.0, 1.0]], np.float32)
IDS = ["a" * 16, "b" * 16]


def write(root: Path, member: str, probabilities: np.ndarray, **changes: Any) -> None:
    """A member's predictions on both splits."""
    given: dict[str, Any] = {"ids": IDS, "manifest": "m", "splits": ("val", "test")} | changes
    for split in given["splits"]:
        path = root / member / f"{split}.h5"
        provenance = {"member": member, "classes": ["x", "y"], "manifest": given["manifest"]}
        with store.create(
            path, "probabilities", (2, 2), np.float32, ids=given["ids"], provenance=provenance
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
    with store.Reader(root / "ensemble" / "test.h5") as found:
        assert found.provenance["member"] == "ensemble"
        assert found.provenance["weights"] == {"a": 0.75, "b": 0.25}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": IDS[::-1]}, "are of different pictures; run predict again"),
        ({"manifest": "another"}, "are of different pictures; run predict again"),
        ({"splits": ()}, "does not exist; run the stage that makes it"),
    ],
)
def test_members_that_do_not_go_together_are_refused(
    root: Path, changes: dict[str, Any], message: str
) -> None:
    write(root / "predictions", "c", A, **changes)
    with pytest.raises(StoreError, match=message):
        average(root, ["a", "c"])
    assert {one.name for one in root.iterdir()} == {"predictions"}
