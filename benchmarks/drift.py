"""False alarms and detections of the drift check, by simulation: `python -m benchmarks.drift`.

Prints the tables of docs/drift.md. tests/data/test_drift.py runs a part of it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import binom

from stages import cli
from stages.data import drift, profile

CLASSES = (2, 10, 101, 200)
# Images now, and in the accepted profile.
SIZES = ((3_000, 3_000), (2_000, 100_000))
FALSE_ALARMS, WARN, STOP = 0.01, 0.1, 0.3
# So small that significance alone decides.
ANY = 1e-9

Profile = dict[str, Any]
Draw = Callable[[int, np.random.Generator], Profile]


def images(
    count: int, draw: np.random.Generator, shares: NDArray[np.float64], brightness: float = 1.0
) -> Profile:
    """Draw a profile of images: sizes as cameras give them, brightness and contrast that go together."""
    light, upright, texture, sharp = draw.normal(size=(4, count))
    figures = {
        "width": np.full(count, 500.0),
        "height": np.where(upright > 0, 375.0, 500.0),
        "brightness": brightness * np.clip(120 + 45 * light, 0, 255),
        "contrast": np.clip(50 + 10 * light + 8 * texture, 0, 128),
        "sharpness": np.exp(6 + sharp),
    }
    counts = draw.multinomial(count, shares)
    summary = profile.summary(["" for _ in range(count)], figures)
    return summary | {"classes": {f"class {number}": int(images) for number, images in enumerate(counts)}}


def confidences(count: int, draw: np.random.Generator, classes: int, doubt: float = 1.0) -> Profile:
    """Draw a profile of predictions of equally frequent classes; `doubt` above 1 makes them less sure."""
    scores = draw.normal(size=(count, classes)) * 0.5
    scores[np.arange(count), draw.integers(classes, size=count)] += 5 / doubt
    probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return drift.of_predictions(probabilities, [str(number) for number in range(classes)])


def even(classes: int) -> NDArray[np.float64]:
    """Equal shares (K,)."""
    return np.full(classes, 1 / classes)


def halved(classes: int) -> NDArray[np.float64]:
    """Shares (K,) after the first of equal classes has lost half of its images."""
    shares = np.ones(classes)
    shares[0] = 0.5
    halves: NDArray[np.float64] = shares / shares.sum()
    return halves


def halved_at_best(classes: int, count: int, draws: int = 20_000) -> tuple[float, float]:
    """The shares of draws in which the best possible tests find that one of equal classes has been halved.

    Both know the accepted shares exactly and test nothing else, at `FALSE_ALARMS`. The first also knows which
    class may be halved: the likelihood ratio of its count, made exact by chance at the limit. The second does
    not, and takes the sum of the classes' likelihood ratios (lemma of Neyman and Pearson).

    Args:
        classes: How many classes there are.
        count: The images of today.
        draws: Of the second test.
    """
    counts = np.arange(count + 1)
    before, after = binom.cdf(counts, count, 1 / classes), binom.cdf(counts, count, halved(classes)[0])
    limit = int(np.searchsorted(before, FALSE_ALARMS))
    below, at = (before[limit - 1], after[limit - 1]) if limit else (0.0, 0.0)
    share = (FALSE_ALARMS - below) / (before[limit] - below)
    which = float(at + share * (after[limit] - at))
    draw = np.random.default_rng([classes, count])
    unchanged, one_halved = (draw.multinomial(count, mix, draws) for mix in (even(classes), halved(classes)))
    evidence = [logsumexp(np.log(0.5) * sample, axis=1) for sample in (unchanged, one_halved)]
    return which, float((evidence[1] > np.quantile(evidence[0], 1 - FALSE_ALARMS)).mean())


def halved_by_class_share(classes: int, sizes: tuple[int, int], runs: int) -> list[float]:
    """Shares of runs in which `class_share` alone finds a halved class.

    First with its seventh of the false alarms, then with half of them, for which the other figures would pay.
    """
    draw = np.random.default_rng([classes, *sizes, runs])
    hits = np.zeros(2)
    for _ in range(runs):
        counts = draw.multinomial(sizes[0], halved(classes)), draw.multinomial(sizes[1], even(classes))
        now, accepted = (
            {"classes": {str(label): images for label, images in enumerate(row.tolist())}} for row in counts
        )
        figure = drift._class_share(now, accepted)
        if figure["value"] >= WARN:
            hits += figure["p_value"] <= FALSE_ALARMS / np.array([7, 2])
    rates: list[float] = (hits / runs).tolist()
    return rates


def alarms(now: Draw, accepted: Draw, sizes: tuple[int, int], runs: int, warn: float) -> float:
    """Share of simulated runs with a verdict other than `pass`.

    Today's profile is drawn anew in each run, the accepted one, which takes longer, in every tenth.
    """
    draw = np.random.default_rng([sizes[0], sizes[1], runs])
    count = 0
    for run in range(runs):
        if run % 10 == 0:
            reference = accepted(sizes[1], draw)
        today = now(sizes[0], draw)
        verdict = drift.compare(today, reference, warn=warn, stop=STOP, false_alarms=FALSE_ALARMS)["verdict"]
        count += verdict != "pass"
    return count / runs


def _rows(runs: int) -> Iterator[str]:
    yield "| classes | images now, accepted | false alarms | brightness -20 % | one class halved | at best |"
    yield "|---|---|---|---|---|---|"
    for classes in CLASSES:
        accepted = partial(images, shares=even(classes))
        for sizes in (*SIZES, (20_000, 100_000)):
            rates = [
                alarms(accepted, accepted, sizes, runs, ANY),
                alarms(partial(images, shares=even(classes), brightness=0.8), accepted, sizes, 100, WARN),
                alarms(partial(images, shares=halved(classes)), accepted, sizes, 100, WARN),
            ]
            rates.append(halved_at_best(classes, sizes[0])[1])
            cells = [str(classes), "{:,}, {:,}".format(*sizes), *(f"{100 * rate:.1f} %" for rate in rates)]
            yield f"| {' | '.join(cells)} |"
    yield "\n| classes | images now, accepted | class share with a seventh of the rate | with half of it |"
    yield "|---|---|---|---|"
    for classes, sizes in ((101, (2_000, 100_000)), (200, (20_000, 100_000))):
        rates = halved_by_class_share(classes, sizes, runs)
        cells = [str(classes), "{:,}, {:,}".format(*sizes), *(f"{100 * rate:.1f} %" for rate in rates)]
        yield f"| {' | '.join(cells)} |"
    yield "\n| classes | predictions now, test split | false alarms | less sure by a fifth |"
    yield "|---|---|---|---|"
    for classes in CLASSES:
        accepted, sizes = partial(confidences, classes=classes), (2_000, 2_000)
        rates = [
            alarms(accepted, accepted, sizes, runs, ANY),
            alarms(partial(confidences, classes=classes, doubt=1.25), accepted, sizes, 100, WARN),
        ]
        yield f"| {classes} | 2,000, 2,000 | {' | '.join(f'{100 * rate:.1f} %' for rate in rates)} |"


def simulate(runs: int = 1_000) -> None:
    """Print the tables.

    Args:
        runs: Of which false alarms are counted.
    """
    for line in _rows(runs):
        print(line, flush=True)


if __name__ == "__main__":
    cli.main(simulate)
