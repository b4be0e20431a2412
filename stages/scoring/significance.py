"""Whether one model is better than another on the same images, or only luckier."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 10_000
# Numbers drawn at a time, 64 MB: all resamples of 10,000 images would take 800.
_DRAWN = 8_000_000


@dataclass(frozen=True)
class Paired:
    """A candidate against a champion: how much better (above 0) or worse, its interval and its p-value.

    `gained` and `lost` count the images that only the candidate, or only the champion, gets right; None
    where the figure is no count.
    """

    gain: float
    low: float
    high: float
    p_value: float
    gained: int | None = None
    lost: int | None = None


def accuracy(candidate: NDArray[np.bool_], champion: NDArray[np.bool_], level: float) -> Paired:
    """McNemar's test of two (N,) records of right and wrong answers, in its mid-p form; two-sided.

    Mid-p because it holds its level in small samples almost as strictly as the exact test, which keeps the
    champion too often, and needs no chi-squared for large ones. Source: M. Fagerland, S. Lydersen, P. Laake,
    The McNemar test for binary matched-pairs data, BMC Medical Research Methodology 13:91, 2013. The interval
    of the difference, at 1 - `level`, is Agresti and Min's (Statistics in Medicine 24, 2005): Wald's after
    half an image is added to each of the four counts. By hand, as SciPy has the binomial and not the test.
    """
    from scipy.stats import binom, norm

    gained = int((candidate & ~champion).sum())
    lost = int((~candidate & champion).sum())
    differ, images = gained + lost, len(candidate)
    few = min(gained, lost)
    # At equal counts the formula gives 1 minus half the probability of exactly that; nothing is more equal.
    p_value = 1.0 if gained == lost else float(2 * binom.cdf(few, differ, 0.5) - binom.pmf(few, differ, 0.5))
    total = images + 2
    centre = (gained - lost) / total
    spread = float(norm.ppf(1 - level / 2)) * ((differ + 1) - (gained - lost) ** 2 / total) ** 0.5 / total
    gain = (gained - lost) / images
    return Paired(gain, centre - spread, centre + spread, min(1.0, p_value), gained, lost)


def log_loss(
    candidate: NDArray[np.float64], champion: NDArray[np.float64], level: float, seed: int
) -> Paired:
    """A paired bootstrap of the mean difference of two (N,) losses per image; a gain is a lower loss.

    10,000 resamples of images; the interval is the percentiles at `level`, the p-value is two-sided: twice
    the share of resamples on the other side of 0. Source: B. Efron, R. Tibshirani, An Introduction to the
    Bootstrap, 1993, ch. 13 and 15. By hand, as scipy.stats.bootstrap holds all resamples at once.
    """
    saved = champion - candidate
    draw = np.random.default_rng(seed)
    means = np.empty(_RESAMPLES)
    step = max(1, _DRAWN // len(saved))
    for start in range(0, _RESAMPLES, step):
        block = means[start : start + step]
        block[:] = saved[draw.integers(0, len(saved), (len(block), len(saved)))].mean(axis=1)
    low, high = np.quantile(means, [level / 2, 1 - level / 2])
    # One is added, as the sample itself is one of those that could have been drawn: a p-value is never 0.
    worse, better = (means <= 0).sum(), (means >= 0).sum()
    p_value = min(1.0, 2 * (min(worse, better) + 1) / (_RESAMPLES + 1))
    return Paired(float(saved.mean()), float(low), float(high), float(p_value))
