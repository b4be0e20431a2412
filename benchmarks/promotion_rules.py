"""Simulate the rules of promotion: `python -m benchmarks.promotion_rules` prints tables of docs/promotion.md.

A simulated classifier is correct or wrong on each test image. Two classifiers of equal quality disagree on a
share of the images, the churn, once in favour of each; `stages/scoring/gate.py` sees nothing else of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import binom

from stages.scoring import significance
from stages.scoring.gate import CLASS_LEVEL
from stages.scoring.promotion import level_of

LEVEL, TOLERATED = 0.05, 0.1
# What the better challenger gains, what the ruined class drops, and how many better challengers have to pass.
GAIN, DROP, PASS = 0.03, 0.3, 0.8
NIGHTS = 200
# The rules of `false_promotions`, as the table names them.
RULES = {
    "each night": "a fresh level each night",
    "ladder": "the Ladder without parameter (Blum & Hardt 2015)",
    "budget": "ours",
}
CHURNS = (0.02, 0.04, 0.06, 0.08)
_DRAWS = 1000

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """A test split: its classes, the images of each class, and the share of images that each model loses.

    `first` is the images of the first class where they differ. With `shape` the churns of the classes differ:
    they are drawn from a gamma distribution of that shape, up to 0.3.
    """

    classes: int
    images: int
    churn: float = 0.04
    first: int | None = None
    shape: float | None = None

    @property
    def sizes(self) -> Counts:
        """The images of each class (K,)."""
        return np.array([self.first or self.images] + [self.images] * (self.classes - 1))

    def draw_churn(self, draw: np.random.Generator) -> NDArray[np.float64]:
        """The churn of each class (K,)."""
        if self.shape is None:
            return np.full(self.classes, self.churn)
        return np.minimum(draw.gamma(self.shape, self.churn / self.shape, self.classes), 0.3)

    def __str__(self) -> str:
        """As the table names it."""
        name = f"{self.classes} x {self.images}"
        name += f", first {self.first}" if self.first else ""
        return name + (", churns differ" if self.shape else "")


SETTINGS = (
    *(Setting(10, 30), Setting(10, 100), Setting(101, 13), Setting(101, 30), Setting(200, 50)),
    *(Setting(101, 13, first=30), Setting(101, 30, shape=2), Setting(200, 50, shape=2)),
)


@dataclass(frozen=True)
class Rates:
    """Shares of draws: the gain was significant, then promoted; and a ruined class was refused.

    `refused_at_best` is what no test exceeds that lets `PASS` of the better challengers pass; see `at_best`.
    """

    significant: float
    promoted: float
    refused: float
    refused_by_holm: float
    refused_at_best: float


def draw_pair(
    setting: Setting, gain: float, draw: np.random.Generator, ruined: bool = False
) -> tuple[Counts, Counts]:
    """Draw a challenger beside a champion.

    Args:
        setting: The test split.
        gain: How much more accurate the challenger is in truth.
        draw: The random numbers.
        ruined: Whether the challenger's recall of the first class is lower by `DROP`.

    Returns:
        Of each class (K,), the images that the challenger loses and gains.
    """
    churn = setting.draw_churn(draw)
    lose, win = churn.copy(), churn + gain
    if ruined:
        lose[0], win[0] = churn[0] + DROP, churn[0]
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


def at_best(
    setting: Setting, better: list[tuple[Counts, Counts]], ruined: list[tuple[Counts, Counts]]
) -> float:
    """The share of ruined challengers that the best test refuses which passes `PASS` of the better ones.

    It is the likelihood ratio that knows the churn, the gain and the drop, and not which class has dropped
    (lemma of Neyman and Pearson). No rule has that knowledge. NaN where churns differ.

    Args:
        setting: The test split.
        better: Draws of better challengers.
        ruined: Draws of challengers with a ruined class.
    """
    if setting.shape:
        return float("nan")
    churn = setting.churn
    lose = np.log((churn + DROP) / churn)
    win = np.log(churn / (churn + GAIN))
    same = np.log((1 - 2 * churn - DROP) / (1 - 2 * churn - GAIN))

    def evidence(pair: tuple[Counts, Counts]) -> float:
        lost, gained = pair
        return float(logsumexp(lost * lose + gained * win + (setting.sizes - lost - gained) * same))

    limit = np.quantile([evidence(pair) for pair in better], PASS)
    return float((np.array([evidence(pair) for pair in ruined]) > limit).mean())


def rates(setting: Setting, draws: int, seed: int = 0) -> Rates:
    """Draw challengers that are better by `GAIN`, and such with one class ruined."""
    draw = np.random.default_rng(seed)
    total, sizes = int(setting.sizes.sum()), setting.sizes
    better = [pair for pair in _pairs(setting, draws, draw) if significant(*pair, total)]
    # A challenger without a significant gain is refused anyway.
    ruined = [pair for pair in _pairs(setting, draws, draw, ruined=True) if significant(*pair, total)]
    gainless = 1 - len(ruined) / draws

    def refused(rule: Callable[[Counts, Counts, Counts], bool]) -> float:
        return gainless + sum(not rule(*pair, sizes) for pair in ruined) / draws

    return Rates(
        len(better) / draws,
        sum(no_class_worse(*pair, sizes) for pair in better) / max(len(better), 1),
        refused(no_class_worse),
        refused(no_class_worse_by_holm),
        gainless + (1 - gainless) * at_best(setting, better, ruined),
    )


def _pairs(
    setting: Setting, draws: int, draw: np.random.Generator, ruined: bool = False
) -> list[tuple[Counts, Counts]]:
    return [draw_pair(setting, GAIN, draw, ruined) for _ in range(draws)]


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


def false_promotions_by_log_loss(images: int, decision: int, draws: int, seed: int = 0) -> float:
    """The share of draws in which a challenger of equal log loss is promoted by log loss.

    It loses 3 nats on one image in a hundred and gains a little on the others, as a more confident classifier
    does. A test split that happens to lack such images does not show what they cost.

    Args:
        images: Of the test split.
        decision: The number of the decision on these images.
        draws: How many splits to draw.
        seed: Of the draws.
    """
    draw, level, rare, cost = np.random.default_rng(seed), level_of(LEVEL, decision), 0.01, 3.0
    promoted = 0
    for _ in range(draws):
        saved = draw.normal(rare * cost / (1 - rare), 0.02, images)
        saved[draw.random(images) < rare] = -cost
        compared = significance.log_loss(np.zeros(images), saved, level)
        promoted += compared.low > 0 and compared.p_value <= level
    return promoted / draws


def _wins(rule: str, gained: int, lost: int, images: int, night: int) -> bool:
    if rule == "ladder":
        gain = (gained - lost) / images
        error: float = (((gained + lost) / images - gain**2) / images) ** 0.5
        return gain > error
    return significant(np.array([lost]), np.array([gained]), images, night if rule == "budget" else 1)


def main() -> None:
    """Print the tables."""
    print(f"| rule | any false promotion in {NIGHTS} nights |\n|---|---|")
    for rule, title in RULES.items():
        print(f"| {title} | {false_promotions(rule, 1000, 200):.1%} |", flush=True)
    print("\n| images | decision | level | equal log loss promoted |\n|---|---|---|---|")
    for images in (300, 1000):
        for decision in (1, 10):
            rate = false_promotions_by_log_loss(images, decision, _DRAWS)
            print(f"| {images} | {decision} | {level_of(LEVEL, decision):.2%} | {rate:.1%} |", flush=True)
    columns = "classes x images | churn | gain significant | then promoted"
    columns += " | ruined class refused | by Holm | at best"
    print(f"\n| {columns} |\n|{'---|' * 7}")
    for churn in CHURNS:
        for base in SETTINGS:
            setting = replace(base, churn=churn)
            measured = rates(setting, _DRAWS)
            shares = (measured.promoted, measured.refused, measured.refused_by_holm, measured.refused_at_best)
            cells = ["-" if np.isnan(share) else f"{share:.1%}" for share in shares]
            print(
                f"| {base} | {churn:.0%} | {measured.significant:.0%} | {' | '.join(cells)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
