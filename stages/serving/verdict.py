"""Whether a candidate takes the champion's place: every rule, what was found, and what is allowed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.common.section import Fraction, Positive, Section, Seed
from stages.scoring import significance
from stages.scoring.significance import Paired

if TYPE_CHECKING:
    from stages.serving.answers import Answers

# From best to worst, as audit says it.
_DRIFT = ("pass", "warn", "stop")


class Promote(Section):
    """Who stands for champion, and what a candidate must do to take its place; null is no limit.

    `candidate` is `ensemble`, a member's name, or `best`: the best on val. `level` is the significance
    level of the paired test on `metric`, `margin` the least gain in it, `recall_drop` how much
    of any class's recall may be lost, `drift` the worst verdict of audit that may be promoted on.
    """

    candidate: str
    metric: Literal["accuracy", "log_loss"]
    level: Fraction
    margin: Annotated[float, Field(ge=0)]
    recall_drop: Annotated[float, Field(ge=0, le=1)]
    latency_ms: Annotated[float, Field(gt=0)] | None
    model_bytes: Positive | None
    drift: Literal["pass", "warn"]
    dry_run: bool
    seed: Seed


@dataclass(frozen=True)
class Rule:
    """One condition, in words."""

    name: str
    holds: bool
    found: str
    allowed: str


@dataclass(frozen=True)
class Verdict:
    """All rules, and the figures they rest on: name of the metric → comparison, class → recalls."""

    rules: list[Rule]
    compared: dict[str, Paired]
    recall: dict[str, dict[str, float]]

    @property
    def holds(self) -> bool:
        """Whether every rule holds."""
        return all(rule.holds for rule in self.rules)

    @property
    def reason(self) -> str:
        """One line: the rules that do not hold, or that all do."""
        broken = [
            f"{rule.name}: {rule.found}, allowed: {rule.allowed}" for rule in self.rules if not rule.holds
        ]
        return "; ".join(broken) or "every rule holds"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "rules": [asdict(rule) for rule in self.rules],
            "compared": {name: asdict(one) for name, one in self.compared.items()},
            "recall": self.recall,
        }


def judge(
    params: Promote,
    candidate: "Answers",
    champion: "Answers | None",
    actual: NDArray[np.str_],
    drift: str,
) -> Verdict:
    """Apply the rules of the params; without a champion, only those that need none."""
    rules = [_drift(params, drift), *_budgets(params, candidate)]
    if champion is None:
        return Verdict(rules, {}, {name: {"candidate": r} for name, r in candidate.recall(actual).items()})
    compared = {
        "accuracy": significance.accuracy(candidate.right, champion.right, params.level),
        "log_loss": significance.log_loss(candidate.loss, champion.loss, params.level, params.seed),
    }
    before, after = champion.recall(actual), candidate.recall(actual)
    recall = {name: {"champion": before[name], "candidate": after[name]} for name in after}
    better = _better(params, compared[params.metric])
    return Verdict([*better, _floors(params, recall), *rules], compared, recall)


def _better(params: Promote, paired: Paired) -> list[Rule]:
    significant = Rule(
        f"better {params.metric}",
        paired.gain > 0 and paired.p_value <= params.level,
        f"gain {paired.gain:+.4f} [{paired.low:+.4f}, {paired.high:+.4f}], p = {paired.p_value:.3g}",
        f"a gain at p <= {params.level:g}",
    )
    margin = Rule("margin", paired.gain >= params.margin, f"{paired.gain:+.4f}", f">= {params.margin:g}")
    return [significant, margin]


def _floors(params: Promote, recall: Mapping[str, Mapping[str, float]]) -> Rule:
    drops = {name: one["champion"] - one["candidate"] for name, one in recall.items()}
    worst = max(drops, key=lambda name: drops[name])
    # A drop of exactly the allowed is allowed, whatever binary fractions make of it.
    below = [name for name, drop in drops.items() if drop > params.recall_drop + 1e-9]
    told = ", ".join(f"{name} {-drops[name]:+.3f}" for name in below) or f"worst {worst} {-drops[worst]:+.3f}"
    return Rule("recall of every class", not below, told, f"a drop of {params.recall_drop:g} at most")


def _drift(params: Promote, found: str) -> Rule:
    holds = _DRIFT.index(found) <= _DRIFT.index(params.drift)
    return Rule("data drift", holds, found, f"{params.drift} at worst")


def _budgets(params: Promote, candidate: "Answers") -> list[Rule]:
    budgets: list[tuple[str, float, float | None, str]] = [
        ("latency", candidate.latency_ms, params.latency_ms, "{:,.1f} ms an image"),
        ("model size", candidate.model_bytes, params.model_bytes, "{:,.0f} bytes"),
    ]
    return [
        Rule(name, found <= limit, unit.format(found), f"{unit.format(limit)} at most")
        for name, found, limit, unit in budgets
        if limit is not None
    ]
