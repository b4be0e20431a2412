"""What a challenger must do to become champion: the params, the verdict, and the price of a decision.

`stages/scoring/gate.py` applies the rules. docs/promotion.md says why they are these.
"""

from dataclasses import asdict, dataclass
from math import pi
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.common.section import Fraction, Positive, Section
from stages.scoring.significance import Paired


class Promote(Section):
    """Which model is the challenger, and what it must do to become champion; null is no limit."""

    challenger: str = Field(
        description="`ensemble`, a member's name, or `best`: the best on val by `metric`."
    )
    metric: Literal["accuracy", "log_loss"] = Field(
        description="The metric in which the challenger is better."
    )
    level: Fraction = Field(
        description="Probability of a false promotion over all decisions on the same images, by accuracy."
    )
    margin: Annotated[float, Field(ge=0)] = Field(description="What the gain in `metric` exceeds.")
    recall_drop: Annotated[float, Field(ge=0, le=1)] = Field(
        description="The tolerated loss of any class's recall."
    )
    min_images: Positive = Field(description="The least number of test images that neither model has seen.")
    min_accuracy: Fraction | None = Field(description="What the accuracy of a first champion exceeds.")
    prefer: Literal["better", "cheaper"] = Field(
        description="`cheaper`: a challenger also wins that saves latency or size and is no worse."
    )
    non_inferiority: Annotated[float, Field(gt=0)] = Field(
        description="The loss in `metric` within which a cheaper challenger is no worse."
    )
    latency_ms: Annotated[float, Field(gt=0)] | None = Field(
        description="The largest median latency of one image, in milliseconds."
    )
    model_bytes: Positive | None = Field(description="The largest size of the model's files, in bytes.")
    drift: Literal["pass", "warn"] = Field(description="The worst verdict of `audit` to promote on.")
    dry_run: bool = Field(description="Whether to report only.")


@dataclass(frozen=True)
class Rule:
    """One condition in words, what was measured, and what is allowed."""

    name: str
    holds: bool
    measured: str
    allowed: str


@dataclass(frozen=True)
class Verdict:
    """All rules, and the figures behind them: metric → comparison, class → recalls and p-value."""

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
            f"{rule.name}: {rule.measured}, allowed: {rule.allowed}" for rule in self.rules if not rule.holds
        ]
        return "; ".join(broken) or "every rule holds"

    def as_dict(self) -> dict[str, Any]:
        """The verdict for JSON."""
        return {
            "rules": [asdict(rule) for rule in self.rules],
            "compared": {name: asdict(paired) for name, paired in self.compared.items()},
            "recall": self.recall,
        }


def level_of(level: float, decision: int) -> float:
    """The level of the n-th decision on the same images: `level` times 6 / (pi n)^2.

    The levels of any number of decisions add up to `level`, so chance alone promotes any challenger with at
    most that probability, whatever the decisions have in common. The Ladder (A. Blum, M. Hardt, ICML 2015)
    bounds the error of the reported score and not the number of false promotions; with its parameter-free
    step, 200 challengers of equal quality led to a false promotion in nearly every simulation
    (benchmarks/promotion_rules.py).

    Args:
        level: Probability of a false promotion over all decisions.
        decision: Number of the decision on these images, from 1.
    """
    return level * 6 / (pi * decision) ** 2
