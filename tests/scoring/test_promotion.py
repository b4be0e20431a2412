"""Each rule alone can keep a challenger from becoming champion, and says by which figure."""

from typing import Any

import numpy as np
import pytest
import yaml

from stages.scoring.gate import judge
from stages.scoring.promotion import Promote, Verdict, level_of
from stages.scoring.served import Served, aligned

CLASSES = ["cat", "dog"]
LABELS = np.repeat(CLASSES, 100)
FAST, SLOW = tuple(np.linspace(2.0, 2.5, 30)), tuple(np.linspace(5.0, 6.0, 30))


def params(**changes: Any) -> Promote:
    values = {
        "challenger": "ensemble",
        "metric": "accuracy",
        "level": 0.05,
        "margin": 0.0,
        "recall_drop": 0.1,
        "min_images": 100,
        "min_accuracy": None,
        "prefer": "better",
        "non_inferiority": 0.02,
        "latency_ms": None,
        "model_bytes": None,
        "drift": "warn",
        "dry_run": False,
    }
    return Promote.model_validate(values | changes)


def served(
    cats: int,
    dogs: int,
    confidence: float = 0.9,
    latencies: tuple[float, ...] = SLOW,
    model_bytes: int = 1000,
    first: int = 0,
) -> Served:
    """So many of the 100 cats and of the 100 dogs are correct, from number `first` on."""
    order = (np.arange(100) - first) % 100
    correct = np.concatenate([order < cats, order < dogs])
    of_dog = np.where(correct == (LABELS == "dog"), confidence, 1 - confidence)
    probabilities = np.stack([1 - of_dog, of_dog], axis=1)
    ids = np.arange(200).astype(np.str_)
    return Served(*aligned(ids, LABELS.tolist(), CLASSES, probabilities), latencies, model_bytes)


def verdict_of(challenger: Served, champion: Served | None, decision: int = 1, **changes: Any) -> Verdict:
    return judge(params(**changes), challenger, champion, "pass", decision)


def rule(verdict: Verdict, name: str) -> tuple[bool, str]:
    (rule,) = [rule for rule in verdict.rules if rule.name == name]
    return rule.holds, rule.measured


def test_a_clearly_better_challenger_passes() -> None:
    verdict = verdict_of(served(90, 90), served(70, 80))
    assert verdict.holds
    assert verdict.reason == "every rule holds"
    assert (verdict.compared["accuracy"].gained, verdict.compared["accuracy"].lost) == (30, 0)
    assert verdict.recall == {
        "cat": {"champion": 0.7, "challenger": 0.9, "p_value": 1.0},
        "dog": {"champion": 0.8, "challenger": 0.9, "p_value": 1.0},
    }


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_ties_and_worse_challengers_keep_the_champion(metric: str) -> None:
    for challenger in (served(80, 80), served(79, 80), served(60, 60)):
        verdict = verdict_of(challenger, served(80, 80), metric=metric)
        assert not verdict.holds
        name = f"better {metric.replace('_', ' ')}"
        assert not rule(verdict, name)[0]
        assert verdict.reason.startswith(f"{name}: gain ")


def test_a_gain_that_may_be_luck_is_not_enough() -> None:
    assert not verdict_of(served(82, 80), served(80, 80)).holds
    assert verdict_of(served(82, 80), served(80, 80), level=0.6).holds


def test_each_decision_on_the_same_images_asks_for_more() -> None:
    challenger, champion = served(84, 84), served(80, 80)
    assert verdict_of(challenger, champion, decision=1).holds
    later = verdict_of(challenger, champion, decision=10)
    assert not later.holds
    assert "p <= 0.0003 at decision 10 on these images" in later.reason
    assert sum(level_of(0.05, number) for number in range(1, 100_000)) == pytest.approx(0.05, rel=1e-4)


def test_log_loss_sees_what_accuracy_does_not() -> None:
    surer, before = served(95, 95, confidence=0.9), served(95, 95, confidence=0.8)
    assert verdict_of(surer, before, metric="log_loss").holds
    assert not verdict_of(surer, before).holds


def test_the_margin_is_compared_with_the_interval() -> None:
    """A point estimate of +0.10 once exceeded a margin of 0.09, whatever its interval."""
    verdict = verdict_of(served(90, 90), served(75, 85), margin=0.09)
    assert verdict.compared["accuracy"].gain == pytest.approx(0.10)
    assert not rule(verdict, "better accuracy")[0]
    assert verdict_of(served(90, 90), served(75, 85), margin=0.02).holds


def test_no_class_may_pay_for_the_others() -> None:
    verdict = verdict_of(served(99, 69), served(60, 80))
    assert rule(verdict, "better accuracy")[0]
    assert rule(verdict, "recall of every class") == (False, "dog -0.110 (p = 0.012)")
    tolerated = verdict_of(served(99, 70), served(60, 80))
    assert rule(tolerated, "recall of every class") == (True, "lowest dog -0.100 (p = 1)")


def test_a_drop_that_chance_explains_is_no_drop() -> None:
    """23 dogs lost and 20 gained: a drop, but the models disagree that often without one being worse."""
    verdict = verdict_of(served(99, 67, first=20), served(60, 70), recall_drop=0.02)
    assert verdict.recall["dog"]["challenger"] == pytest.approx(0.67)
    holds, measured = rule(verdict, "recall of every class")
    assert holds
    assert measured.startswith("lowest dog -0.030 (p = 0.")


@pytest.mark.parametrize(
    ("changes", "drift", "broken"),
    [
        ({"latency_ms": 4.9}, "pass", "latency: 5.5 ms an image, allowed: 4.9 ms an image at most"),
        ({"model_bytes": 999}, "pass", "model size: 1,000 bytes, allowed: 999 bytes at most"),
        ({}, "stop", "data drift: stop, allowed: warn at worst"),
        ({"drift": "pass"}, "warn", "data drift: warn, allowed: pass at worst"),
    ],
)
@pytest.mark.parametrize("champion", [None, served(50, 50)])
def test_budgets_and_drift_bind_the_first_challenger_too(
    changes: dict[str, Any], drift: str, broken: str, champion: Served | None
) -> None:
    verdict = judge(params(**changes), served(90, 90), champion, drift, 1)
    assert verdict.reason == broken
    assert not verdict.holds


def test_the_first_champion_is_better_than_the_majority_class() -> None:
    """Without a champion, a network at chance level once became one."""
    chance = verdict_of(served(100, 2), None)
    assert not chance.holds
    assert chance.reason.startswith("better than the majority class: accuracy 0.5100 against 0.5000, p = 0.")
    good = verdict_of(served(90, 90), None)
    assert good.holds
    assert [rule.name for rule in good.rules] == ["better than the majority class", "data drift"]
    assert good.compared == {}
    assert yaml.safe_load(yaml.safe_dump(good.as_dict())) == good.as_dict()


def test_the_first_champion_exceeds_the_least_accuracy_by_its_interval() -> None:
    assert verdict_of(served(90, 90), None, min_accuracy=0.8).holds
    verdict = verdict_of(served(90, 90), None, min_accuracy=0.89)
    assert rule(verdict, "accuracy") == (False, "0.9000, lower bound 0.8531")
    # A champion has been through it.
    assert verdict_of(served(95, 95), served(50, 50), min_accuracy=0.99).holds


def test_a_faster_or_smaller_challenger_that_is_no_worse_wins_where_params_say_so() -> None:
    same = served(90, 90)
    faster, smaller = served(90, 90, latencies=FAST), served(90, 90, model_bytes=800)
    assert not verdict_of(faster, same).holds
    for cheaper in (faster, smaller):
        verdict = verdict_of(cheaper, same, prefer="cheaper")
        assert verdict.holds, verdict.reason
        assert [rule.name for rule in verdict.rules][:2] == ["no worse accuracy", "cheaper"]
    assert verdict_of(served(99, 99), same, prefer="cheaper").rules[0].name == "better accuracy"
    for dear in (served(90, 90, latencies=FAST, model_bytes=1200), served(90, 90, model_bytes=950), same):
        assert not rule(verdict_of(dear, same, prefer="cheaper"), "cheaper")[0]
    # Five images of 200 lost: up to 0.02 is tolerated, with certainty.
    worse = served(85, 90, latencies=FAST)
    assert not rule(verdict_of(worse, same, prefer="cheaper"), "no worse accuracy")[0]


def test_a_champion_of_other_classes_is_compared_by_name() -> None:
    """It knows no dogs, so it has them all wrong, with the log loss of the stated clip."""
    probabilities = np.tile([0.9, 0.1], (200, 1))
    ids = np.arange(200).astype(np.str_)
    old = Served(*aligned(ids, LABELS.tolist(), ["cat", "wolf"], probabilities), SLOW, 1000)
    assert old.recall() == {"cat": 1.0, "dog": 0.0}
    assert set(old.predicted) == {"cat"}
    verdict = verdict_of(served(95, 95), old)
    assert verdict.recall["dog"] == {"champion": 0.0, "challenger": 0.95, "p_value": 1.0}
    assert verdict.holds
