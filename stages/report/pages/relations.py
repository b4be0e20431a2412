"""The relations between results that the books state, checked on this project's results.

"Augmented is better than plain" is a claim of its own: both accuracies may be in their bands and the relation
wrong. A relation holds when the whole interval of the difference is above 0, and is reversed when the whole
interval is below.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from stages.report.pages.answers import Answers
from stages.report.pages.reproduction import Result, select, table
from stages.scoring import ENSEMBLE, differences
from stages.scoring.books import MEMBERS, Relation

_LEVEL = 0.025

# Recipe, seed → split → answers.
ReadAnswers = Callable[[str, int], Mapping[str, Answers]]


@dataclass(frozen=True)
class Side:
    """One of the two results that a relation compares.

    Attributes:
        recipe: the recipe's name.
        name: a member, `ensemble`, or MEMBERS for the mean of all members.
    """

    recipe: str
    name: str

    def __str__(self) -> str:
        return f"`{self.recipe}` {'mean of members' if self.name == MEMBERS else self.name}"


@dataclass(frozen=True)
class Difference:
    """How far the first side is above the second.

    Attributes:
        gain: the difference of the accuracies.
        low: the lower bound of its 95 % interval.
        high: the upper bound.
        seeds: those of the first side and those of the second.
        paired: whether the sides were compared image by image, each seed with itself.
    """

    gain: float
    low: float
    high: float
    seeds: tuple[Sequence[int], Sequence[int]]
    paired: bool

    @property
    def verdict(self) -> str:
        """`holds`, `reversed`, or `open` where chance explains the difference."""
        return "holds" if self.low > 0 else "reversed" if self.high < 0 else "open"


def sides(recipe: str, relation: Relation) -> tuple[Side, Side]:
    """The two results of a recipe's relation."""
    return Side(recipe, relation.of), Side(*relation.lower(recipe))


def compare(
    recipe: str, relation: Relation, results: Sequence[Result], read_answers: ReadAnswers
) -> Difference | None:
    """Compare the two sides of a relation.

    Runs with the same seed on the same images are compared image by image. Where there are several such seeds
    the differences are averaged, and the interval is that of one test split: it has no part for the seeds.

    Args:
        recipe: the recipe that states the relation.
        relation: what it states.
        results: all results of this project.
        read_answers: reads the answers of one run.

    Returns:
        The difference; None where a side has not been run.
    """
    first, second = sides(recipe, relation)
    pairs = {}
    for seed in sorted({result.seed for result in results if result.recipe == first.recipe}):
        ours, compared = (read_answers(side.recipe, seed).get(relation.split) for side in (first, second))
        if ours and compared and ours.images == compared.images:
            pairs[seed] = _right(ours, first.name) - _right(compared, second.name)
    if pairs:
        bounds = [differences.paired(values, _LEVEL) for values in pairs.values()]
        gain, low, high = (fmean(values) for values in zip(*bounds, strict=True))
        return Difference(gain, low, high, (list(pairs), list(pairs)), paired=True)
    # Of MEMBERS there are none, as not every member has a figure.
    ours_by_accuracy, theirs_by_accuracy = (
        select(results, side.recipe, side.name, "accuracy", relation.split) for side in (first, second)
    )
    if not ours_by_accuracy or not theirs_by_accuracy:
        return None
    gain, low, high = differences.independent(
        fmean(result.value for result in ours_by_accuracy),
        ours_by_accuracy[0].images,
        fmean(result.value for result in theirs_by_accuracy),
        theirs_by_accuracy[0].images,
        _LEVEL,
    )
    ours_seeds, their_seeds = (
        sorted(result.seed for result in side) for side in (ours_by_accuracy, theirs_by_accuracy)
    )
    return Difference(gain, low, high, (ours_seeds, their_seeds), paired=False)


def markdown(
    relations: Mapping[str, Sequence[Relation]], results: Sequence[Result], read_answers: ReadAnswers
) -> str:
    """Write the table in Markdown, a line for each relation.

    Args:
        relations: recipe → the relations that its book states.
        results: all results of this project.
        read_answers: reads the answers of one run.
    """
    header = "is above", "", "difference", "95 % interval", "compared", "seeds", "verdict", "source"
    rows = []
    for recipe, stated in relations.items():
        for relation in stated:
            first, second = sides(recipe, relation)
            cells = _cells(compare(recipe, relation, results, read_answers))
            rows.append([str(first), str(second), *cells, relation.source])
    return table(header, rows)


def _cells(difference: Difference | None) -> list[str]:
    if difference is None:
        return ["", "", "", "", "not run"]
    return [
        f"{difference.gain:+.4f}",
        f"{difference.low:+.4f} to {difference.high:+.4f}",
        "image by image" if difference.paired else "two accuracies",
        _seeds(*difference.seeds),
        difference.verdict,
    ]


def _seeds(*sides: Sequence[int]) -> str:
    """The seeds of both sides: "42", or "1, 2, 42 / 42" where they differ."""
    first, second = (", ".join(map(str, seeds)) for seeds in sides)
    return first if first == second else f"{first} / {second}"


def _right(answers: Answers, name: str) -> NDArray[np.float64]:
    """Of each image 1 where the side is right; of MEMBERS the share of the members that are."""
    if name != MEMBERS:
        return np.asarray(answers.correct[name], np.float64)
    members = [right for member, right in answers.correct.items() if member != ENSEMBLE]
    return np.asarray(np.mean(members, axis=0), np.float64)
