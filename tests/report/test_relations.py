"""What the books state about two results is checked image by image where both saw the same images."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from stages.report.pages import relations
from stages.report.pages.answers import Answers
from stages.report.pages.reproduction import Result
from stages.scoring.books import Relation
from tests.report.results import OURS

STATED = Relation(of="net", above="plain.net", source="A book, ch. 2")
AUGMENTED = replace(OURS, recipe="augmented", of="net", value=0.915, images=1_000)
PLAIN = replace(AUGMENTED, recipe="plain", value=0.9)
Right = Mapping[str, int]


def answers(right: Right, images: str = "same") -> dict[str, Answers]:
    """Of 1,000 images the first so many are right."""
    return {"test": Answers(images, {name: np.arange(1_000) < count for name, count in right.items()})}


def compare(
    results: list[Result], by_run: Mapping[tuple[str, int], Mapping[str, Answers]], stated: Relation = STATED
) -> relations.Difference | None:
    return relations.compare("augmented", stated, results, lambda *run: by_run.get(run, {}))


def test_the_same_images_are_compared_one_by_one() -> None:
    by_run = {("augmented", 42): answers({"net": 915}), ("plain", 42): answers({"net": 900})}
    difference = compare([AUGMENTED, PLAIN], by_run)
    assert difference is not None
    assert difference.paired
    assert difference.gain == pytest.approx(0.015)
    assert difference.verdict == "holds"
    assert 0 < difference.low < 0.015 < difference.high


def test_other_images_or_no_answers_leave_two_accuracies() -> None:
    others = {("augmented", 42): answers({"net": 915}), ("plain", 42): answers({"net": 900}, "other")}
    for by_run in ({}, others):
        difference = compare([AUGMENTED, PLAIN], by_run)
        assert difference is not None
        assert not difference.paired
        assert difference.verdict == "open"


def test_a_relation_is_reversed_when_the_interval_is_below_0() -> None:
    difference = compare([replace(AUGMENTED, value=0.8), PLAIN], {})
    assert difference is not None
    assert difference.verdict == "reversed"


def test_several_seeds_are_averaged_over_those_that_both_have() -> None:
    by_run = {
        ("augmented", 1): answers({"net": 920}, "first"),
        ("plain", 1): answers({"net": 900}, "first"),
        ("augmented", 2): answers({"net": 910}, "second"),
        ("plain", 2): answers({"net": 900}, "second"),
        ("augmented", 3): answers({"net": 100}, "third"),
    }
    difference = compare([replace(AUGMENTED, seed=seed) for seed in (1, 2, 3)], by_run)
    assert difference is not None
    assert difference.seeds == ([1, 2], [1, 2])
    assert difference.gain == pytest.approx(0.015)


def test_without_answers_the_table_has_the_seeds_of_each_side() -> None:
    results = [*(replace(AUGMENTED, seed=seed) for seed in (42, 1)), replace(PLAIN, seed=42)]
    assert "| 1, 42 / 42 |" in relations.markdown({"augmented": [STATED]}, results, lambda *_: {})
    results = [AUGMENTED, PLAIN]
    assert "| 42 |" in relations.markdown({"augmented": [STATED]}, results, lambda *_: {})


def test_an_ensemble_is_compared_with_the_mean_of_its_members() -> None:
    stated = Relation(of="ensemble", above="members", source="A book, ch. 6")
    by_run = {("augmented", 42): answers({"m1": 900, "m2": 880, "ensemble": 910})}
    difference = compare([replace(AUGMENTED, of="ensemble")], by_run, stated)
    assert difference is not None
    assert difference.gain == pytest.approx(0.02)


def test_a_side_that_was_not_run_is_said_so() -> None:
    assert compare([AUGMENTED], {}) is None
    lines = relations.markdown({"augmented": [STATED]}, [AUGMENTED], lambda *_: {}).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| `augmented` net | `plain` net |")
    assert "| not run | A book, ch. 2 |" in lines[2]
