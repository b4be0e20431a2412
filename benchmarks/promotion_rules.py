"""Simulate the rules of promotion: `python -m benchmarks.promotion_rules` prints tables of docs/promotion.md.

A simulated classifier is correct or wrong on each test image. Two classifiers of equal quality disagree on a
share of the images, the churn, once in favour of each; `stages/scoring/gate.py` sees nothing else of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from stages.scoring import significance
from stages.scoring.gate import CLASS_LEVEL
from stages.scoring.promotion import level_of

LEVEL, TOLERATED = 0.05, 0.1
NIGHTS = 200
_DRAWS = 1000

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """A test split: its classes, the images of each class, and the share of images that each model loses."""

    classes: int
    images: int
    churn: float = 0.04

    @property
    def sizes(self) -> Counts:
        """The images of each class (K,)."""
        return np.full(self.classes, self.images)


SETTINGS = (Setting(10, 30), Setting(10, 100), Setting(101, 13), Setting(200, 50))


@dataclass(frozen=True)
class Rates:
    """Shares of draws: the gain was significant, then promoted; and a ruined class was refused."""

    significant: float
    promoted: float
    refused: float
    refused_by_holm: float


def draw_pair(
    setting: Setting, gain: float, draw: np.random.Generator, ruined: bool = False
) -> tuple[Counts, Counts]:
    """Draw a challenger beside a champion.

    Args:
        setting: The test split.
        gain: How much more accurate the challenger is in truth.
        draw: The random numbers.
        ruined: Whether the challenger's recall of the first class is lower by 0.3.

    Returns:
        Of each class (K,), the images that the challenger loses and gains.
    """
    lose, win = np.full(setting.classes, setting.churn), np.full(setting.classes, setting.churn + gain)
    if ruined:
        lose[0], win[0] = setting.churn + 0.3, setting.churn
    lost = draw.binomial(setting.sizes, lose)
    return lost, draw.binomial(setting.sizes - lost, win / (1 - lose))


def significant(lost: Counts, gained: Counts, images: int, decision: int = 1) -> bool:
    """Whether the rule of the overall gain holds, without a margin."""
    level = level_of(LEVEL, decision)
    paired = significance.of_counts(int(gained.sum()), int(lost.sum()), images, level)
    return paired.low > 0 and paired.p_value <= level


def no_class_worse(lost: Counts, gained: Counts, sizes: Counts) -> bool:
    """Whether the rule of the classes holds."""
    return float(significance.class_drops(lost, gained, sizes, TOLERATED).min()) > CLASS_LEVEL


def no_class_worse_by_holm(lost: Counts, gained: Counts, sizes: Counts) -> bool:
    """The same by Holm's correction of McNemar's exact test, at the same level."""
    p_values = np.where(lost + gained > 0, binom.sf(lost - 1, lost + gained, 0.5), 1.0)
    p_values = np.where(lost - gained > TOLERATED * sizes, p_values, 1.0)
    return float(p_values.min()) > CLASS_LEVEL / len(sizes)


def rates(setting: Setting, draws: int, seed: int = 0) -> Rates:
    """Draw challengers that are better by 3 points, and such with one class ruined."""
    draw = np.random.default_rng(seed)
    total, sizes = int(setting.sizes.sum()), setting.sizes
    better = [draw_pair(setting, 0.03, draw) for _ in range(draws)]
    passed = [pair for pair in better if significant(*pair, total)]
    ruined = [draw_pair(setting, 0.03, draw, ruined=True) for _ in range(draws)]
    gains = [significant(*pair, total) for pair in ruined]
    return Rates(
        len(passed) / draws,
        sum(no_class_worse(*pair, sizes) for pair in passed) / max(len(passed), 1),
        1 - _share(gain and no_class_worse(*pair, sizes) for gain, pair in zip(gains, ruined, strict=True)),
        1
        - _share(
            gain and no_class_worse_by_holm(*pair, sizes) for gain, pair in zip(gains, ruined, strict=True)
        ),
    )


def false_promotions(rule: str, images: int, sequences: int, seed: int = 0) -> float:
    """The share of sequences of 200 nightly challengers of equal quality in which any was promoted.

    All nights share the test images, of which some are harder than others, and the champion's luck with them.

    Args:
        rule: `budget` (ours), `each night` (a fresh level every night) or `ladder` (Blum and Hardt 2015,
            without parameter: a gain above one standard error).
        images: Of the test split.
        sequences: How many sequences to draw.
        seed: Of the draws.
    """
    draw = np.random.default_rng(seed)
    promoted = 0
    for _ in range(sequences):
        share = draw.beta(2.0, 0.3, images)
        champion = draw.random(images) < share
        for night in range(1, NIGHTS + 1):
            challenger = draw.random(images) < share
            gained, lost = int((challenger & ~champion).sum()), int((champion & ~challenger).sum())
            if _wins(rule, gained, lost, images, night):
                promoted += 1
                break
    return promoted / sequences


def _wins(rule: str, gained: int, lost: int, images: int, night: int) -> bool:
    if rule == "ladder":
        gain = (gained - lost) / images
        error: float = (((gained + lost) / images - gain**2) / images) ** 0.5
        return gain > error
    return significant(np.array([lost]), np.array([gained]), images, night if rule == "budget" else 1)


def _share(holds: Iterator[bool]) -> float:
    values = list(holds)
    return sum(values) / len(values)


def main() -> None:
    """Print the tables."""
    print(f"| rule | any false promotion in {NIGHTS} nights |\n|---|---|")
    for rule in ("each night", "ladder", "budget"):
        print(f"| {rule} | {false_promotions(rule, 1000, 200):.1%} |", flush=True)
    print(
        "\n| classes x images | churn | gain significant | then promoted | ruined class refused | by Holm |"
    )
    print("|---|---|---|---|---|---|")
    for churn in (0.02, 0.04, 0.08):
        for base in SETTINGS:
            setting = Setting(base.classes, base.images, churn)
            measured = rates(setting, _DRAWS)
            ruined = (
                f"{measured.refused:.1%} | {measured.refused_by_holm:.1%}" if base.images >= 30 else "- | -"
            )
            print(
                f"| {base.classes} x {base.images} | {churn:.0%} | {measured.significant:.0%} "
                f"| {measured.promoted:.1%} | {ruined} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
