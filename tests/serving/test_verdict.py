"""Every rule can stand in a candidate's way alone, and says with which figure."""

from typing import Any

import numpy as np
import pytest
import yaml

from stages.serving.answers import Answers
from stages.serving.verdict import Promote, Verdict, judge

ACTUAL = np.repeat(["cat", "dog"], 100)


def params(**changes: Any) -> Promote:
    values = {
        "candidate": "ensemble",
        "metric": "accuracy",
        "level": 0.05,
        "margin": 0.0,
        "recall_drop": 0.1,
        "latency_ms": None,
        "model_bytes": None,
        "drift": "warn",
        "dry_run": False,
        "seed": 1,
    }
    return Promote.model_validate(values | changes)


def answers(cats: int, dogs: int, confidence: float = 0.9) -> Answers:
    """The first so many of the 100 cats and of the 100 dogs right, each as sure as the other."""
    right = np.concatenate([np.arange(100) < cats, np.arange(100) < dogs])
    of_dog = np.where(right == (ACTUAL == "dog"), confidence, 1 - confidence)
    probabilities = np.stack([1 - of_dog, of_dog], axis=1)
    predicted = np.where(right, ACTUAL, np.where(ACTUAL == "cat", "dog", "cat"))
    of_actual = np.where(right, confidence, 1 - confidence)
    return Answers(predicted, np.full(200, confidence), -np.log(of_actual), right, probabilities, 5.0, 1000)


def rule(verdict: Verdict, name: str) -> tuple[bool, str]:
    (found,) = [one for one in verdict.rules if one.name == name]
    return found.holds, found.found


def test_a_clearly_better_candidate_passes() -> None:
    verdict = judge(params(), answers(90, 90), answers(70, 80), ACTUAL, "pass")
    assert verdict.holds
    assert verdict.reason == "every rule holds"
    assert (verdict.compared["accuracy"].gained, verdict.compared["accuracy"].lost) == (30, 0)
    assert verdict.recall == {
        "cat": {"champion": 0.7, "candidate": 0.9},
        "dog": {"champion": 0.8, "candidate": 0.9},
    }


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_ties_and_worse_candidates_keep_the_champion(metric: str) -> None:
    for candidate in (answers(80, 80), answers(79, 80), answers(60, 60)):
        verdict = judge(params(metric=metric), candidate, answers(80, 80), ACTUAL, "pass")
        assert not verdict.holds
        assert not rule(verdict, f"better {metric}")[0]
        assert verdict.reason.startswith(f"better {metric}: gain ")


def test_a_gain_that_may_be_luck_is_not_enough() -> None:
    verdict = judge(params(), answers(82, 80), answers(80, 80), ACTUAL, "pass")
    assert rule(verdict, "margin") == (True, "+0.0100")
    assert not rule(verdict, "better accuracy")[0]
    assert judge(params(level=0.6), answers(82, 80), answers(80, 80), ACTUAL, "pass").holds


def test_log_loss_sees_what_accuracy_does_not() -> None:
    surer, before = answers(95, 95, confidence=0.9), answers(95, 95, confidence=0.8)
    assert judge(params(metric="log_loss"), surer, before, ACTUAL, "pass").holds
    assert not judge(params(), surer, before, ACTUAL, "pass").holds


def test_a_significant_gain_below_the_margin_is_not_enough() -> None:
    verdict = judge(params(margin=0.2), answers(90, 90), answers(75, 85), ACTUAL, "pass")
    assert rule(verdict, "better accuracy")[0]
    assert rule(verdict, "margin") == (False, "+0.1000")
    assert not verdict.holds


def test_no_class_may_pay_for_the_others() -> None:
    verdict = judge(params(recall_drop=0.1), answers(99, 69), answers(60, 80), ACTUAL, "pass")
    assert rule(verdict, "better accuracy")[0]
    assert rule(verdict, "recall of every class") == (False, "dog -0.110")
    exactly = judge(params(recall_drop=0.1), answers(99, 70), answers(60, 80), ACTUAL, "pass")
    assert rule(exactly, "recall of every class") == (True, "worst dog -0.100")


@pytest.mark.parametrize(
    ("changes", "drift", "broken"),
    [
        ({"latency_ms": 4.9}, "pass", "latency: 5.0 ms an image, allowed: 4.9 ms an image at most"),
        ({"model_bytes": 999}, "pass", "model size: 1,000 bytes, allowed: 999 bytes at most"),
        ({}, "stop", "data drift: stop, allowed: warn at worst"),
        ({"drift": "pass"}, "warn", "data drift: warn, allowed: pass at worst"),
    ],
)
@pytest.mark.parametrize("champion", [None, answers(50, 50)])
def test_budgets_and_drift_bind_the_first_candidate_too(
    changes: dict[str, Any], drift: str, broken: str, champion: Answers | None
) -> None:
    verdict = judge(params(**changes), answers(90, 90), champion, ACTUAL, drift)
    assert verdict.reason == broken
    assert not verdict.holds


def test_the_first_candidate_needs_nobody_to_be_better_than() -> None:
    found = judge(params(latency_ms=5.0, model_bytes=1000), answers(10, 10), None, ACTUAL, "warn")
    assert found.holds
    assert [one.name for one in found.rules] == ["data drift", "latency", "model size"]
    assert found.compared == {}
    assert yaml.safe_load(yaml.safe_dump(found.as_dict())) == found.as_dict()
