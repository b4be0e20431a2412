"""The rules of promotion: a challenger against the champion, on the same images.

Simulations of their error rates: tests/scoring/test_promotion_rates.py and `python -m
benchmarks.promotion_rules`, whose table is in docs/promotion.md.
"""

import numpy as np

from stages.scoring import metrics, significance
from stages.scoring.promotion import Promote, Rule, Verdict, level_of
from stages.scoring.served import Served
from stages.scoring.significance import Paired

# From best to worst, as `audit` says it.
_DRIFT = ("pass", "warn", "stop")
# A class counts as worse when chance alone gives any class such a drop less often than this. Laxer than
# `level`: a good challenger that is refused comes again tomorrow, a class that is ruined is served until
# a person notices. The largest level at which better challengers pass in 80 % of draws (docs/promotion.md).
CLASS_LEVEL = 0.5
# A cheaper challenger saves at least this share of latency or size, and costs no more than this in the other.
SAVING = 0.1
# Classes that the verdict names one by one.
_NAMED = 5


def judge(params: Promote, challenger: Served, champion: Served | None, drift: str, decision: int) -> Verdict:
    """Apply the rules of the params.

    Args:
        params: The limits.
        challenger: What the challenger says of the images, and what it costs.
        champion: The same of the champion, on the same images in the same order; None where there is none.
        drift: The verdict of `audit`: pass, warn or stop.
        decision: Number of the decision on these images, from 1; see `level_of`.

    Returns:
        Every rule with its figures.
    """
    level = level_of(params.level, decision)
    limits = [_drift(params, drift), *_budgets(params, challenger)]
    if champion is None:
        recall = {name: {"challenger": share} for name, share in challenger.recall().items()}
        return Verdict([*_first(params, challenger, level, decision), *limits], {}, recall)
    after, before = challenger.predictions, champion.predictions
    compared = {
        "accuracy": significance.accuracy(after.correct, before.correct, level),
        "log_loss": significance.log_loss(after.losses, before.losses, level),
    }
    recall = _recall(params, challenger, champion)
    gain = _better(params, compared[params.metric], level, decision)
    if not gain.holds and params.prefer == "cheaper":
        gains = [_no_worse(params, compared[params.metric], decision), _cheaper(challenger, champion, level)]
    else:
        gains = [gain]
    return Verdict([*gains, _no_class_worse(params, recall), *limits], compared, recall)


def _first(params: Promote, challenger: Served, level: float, decision: int) -> list[Rule]:
    from scipy.stats import binomtest

    predictions = challenger.predictions
    count, correct = len(predictions), int(predictions.correct.sum())
    majority = float(np.bincount(predictions.labels).max()) / count
    p_value = float(binomtest(correct, count, majority, alternative="greater").pvalue)
    rules = [
        Rule(
            "better than the majority class",
            p_value <= level,
            f"accuracy {correct / count:.4f} against {majority:.4f}, p = {p_value:.3g}",
            f"p <= {level:.2g} at decision {decision} on these images",
        )
    ]
    return [*rules, *_least_accuracy(params, predictions.accuracy, count, level)]


def _least_accuracy(params: Promote, accuracy: float, count: int, level: float) -> list[Rule]:
    if params.min_accuracy is None:
        return []
    low, _ = metrics.interval(accuracy, count, 2 * level)
    measured = f"{accuracy:.4f}, lower bound {low:.4f}"
    return [
        Rule("accuracy", low > params.min_accuracy, measured, f"lower bound above {params.min_accuracy:g}")
    ]


def _better(params: Promote, paired: Paired, level: float, decision: int) -> Rule:
    return Rule(
        f"better {params.metric.replace('_', ' ')}",
        paired.low > params.margin and paired.p_value <= level,
        f"gain {_ranged(paired)}, p = {paired.p_value:.3g}",
        f"lower bound above {params.margin:g}, p <= {level:.2g} at decision {decision} on these images",
    )


def _no_worse(params: Promote, paired: Paired, decision: int) -> Rule:
    return Rule(
        f"no worse {params.metric.replace('_', ' ')}",
        paired.low > -params.non_inferiority,
        f"gain {_ranged(paired)}",
        f"lower bound above {-params.non_inferiority:g} at decision {decision} on these images",
    )


def _cheaper(challenger: Served, champion: Served, level: float) -> Rule:
    """Timings by the Mann-Whitney test; a size is exact."""
    from scipy.stats import mannwhitneyu

    p_value = float(mannwhitneyu(challenger.latencies, champion.latencies, alternative="less").pvalue)
    time = challenger.latency_ms / champion.latency_ms - 1
    size = challenger.model_bytes / champion.model_bytes - 1
    faster = time <= -SAVING and p_value <= level
    return Rule(
        "cheaper",
        (faster or size <= -SAVING) and max(time, size) <= SAVING,
        f"latency {time:+.0%}, p = {p_value:.3g}; size {size:+.0%}",
        f"one {-SAVING:.0%} or less, the other {SAVING:+.0%} at most, latency at p <= {level:.2g}",
    )


def _ranged(paired: Paired) -> str:
    return f"{paired.gain:+.4f} [{paired.low:+.4f}, {paired.high:+.4f}]"


def _recall(params: Promote, challenger: Served, champion: Served) -> dict[str, dict[str, float]]:
    labels = np.asarray(challenger.classes)[challenger.predictions.labels]
    after, before = challenger.predictions.correct, champion.predictions.correct
    names, numbers = np.unique(labels, return_inverse=True)
    lost = np.bincount(numbers, weights=before & ~after).astype(np.int64)
    gained = np.bincount(numbers, weights=after & ~before).astype(np.int64)
    p_values = significance.class_drops(lost, gained, np.bincount(numbers), params.recall_drop)
    was, now = champion.recall(), challenger.recall()
    return {
        str(name): {"champion": was[name], "challenger": now[name], "p_value": float(p_value)}
        for name, p_value in zip(names, p_values, strict=True)
    }


def _no_class_worse(params: Promote, recall: dict[str, dict[str, float]]) -> Rule:
    change = {name: row["challenger"] - row["champion"] for name, row in recall.items()}
    worse = sorted((row["p_value"], name) for name, row in recall.items() if row["p_value"] <= CLASS_LEVEL)
    named = [f"{name} {change[name]:+.3f} (p = {p_value:.2g})" for p_value, name in worse[:_NAMED]]
    if len(worse) > _NAMED:
        named.append(f"{len(worse) - _NAMED} more")
    lowest = min(change, key=lambda name: change[name])
    return Rule(
        "recall of every class",
        not worse,
        ", ".join(named) or f"lowest {lowest} {change[lowest]:+.3f} (p = {recall[lowest]['p_value']:.2g})",
        f"a drop of {params.recall_drop:g}, or one that chance gives any class at p > {CLASS_LEVEL:g}",
    )


def _drift(params: Promote, drift: str) -> Rule:
    holds = _DRIFT.index(drift) <= _DRIFT.index(params.drift)
    return Rule("data drift", holds, drift, f"{params.drift} at worst")


def _budgets(params: Promote, challenger: Served) -> list[Rule]:
    budgets: list[tuple[str, float, float | None, str]] = [
        ("latency", challenger.latency_ms, params.latency_ms, "{:,.1f} ms an image"),
        ("model size", challenger.model_bytes, params.model_bytes, "{:,.0f} bytes"),
    ]
    return [
        Rule(name, value <= limit, unit.format(value), f"{unit.format(limit)} at most")
        for name, value, limit, unit in budgets
        if limit is not None
    ]
