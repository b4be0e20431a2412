"""Paired tests of two models on the same images: does one do better, or is it only luckier?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.scoring import differences

# Shape of the gamma distribution whose rates are as good as equal.
_ALIKE = 1e4


@dataclass(frozen=True)
class Paired:
    """How much better (above 0) or worse a challenger is than a champion.

    `low` and `high` bound the gain. `p_value` is one-sided: how often chance alone gives a model that is no
    better than the champion a gain as large. `gained` and `lost` count the images that only the challenger,
    or only the champion, classifies correctly; None where the figure is no count.
    """

    gain: float
    low: float
    high: float
    p_value: float
    gained: int | None = None
    lost: int | None = None

    @property
    def two_sided(self) -> float:
        """How often chance alone makes a difference as large, in either direction."""
        if self.gained is None or self.lost is None:
            return min(1.0, 2 * min(self.p_value, 1 - self.p_value))
        # 1 - p_value is 0 where the p-value is within 1e-16 of 1.
        return min(1.0, 2 * _mid_p(max(self.gained, self.lost), min(self.gained, self.lost)))


def accuracy(challenger: NDArray[np.bool_], champion: NDArray[np.bool_], level: float) -> Paired:
    """Compare two accuracies by McNemar's test in its mid-p form.

    Mid-p holds its level in small samples almost as strictly as the exact test, which is too cautious.
    Source: M. Fagerland, S. Lydersen, P. Laake, The McNemar test for binary matched-pairs data, BMC Medical
    Research Methodology 13:91, 2013. SciPy does not have it. The interval is `differences.matched_pairs`.

    Args:
        challenger: Whether each image (N,) is classified correctly.
        champion: The same for the champion, in the same order.
        level: Probability that the gain is below `low`, and the same above `high`.

    Returns:
        The gain in accuracy, from -1 to 1.
    """
    gained = int((challenger & ~champion).sum())
    lost = int((~challenger & champion).sum())
    return of_counts(gained, lost, len(challenger), level)


def of_counts(gained: int, lost: int, images: int, level: float) -> Paired:
    """Compare two accuracies as `accuracy` does, from the counts of images."""
    low, high = differences.matched_pairs(gained - lost, gained + lost, images, level)
    return Paired((gained - lost) / images, low, high, _mid_p(gained, lost), gained, lost)


def _mid_p(gained: int, lost: int) -> float:
    """The probability that fair coins give more gains than these, and half of that of as many."""
    from scipy.stats import binom

    differ = gained + lost
    if not differ:
        return 0.5
    return float(binom.sf(gained - 1, differ, 0.5) - 0.5 * binom.pmf(gained, differ, 0.5))


def log_loss(challenger: NDArray[np.float64], champion: NDArray[np.float64], level: float) -> Paired:
    """Compare two log losses by a paired bootstrap of their mean difference; a gain is a lower loss.

    Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13 and 15. The bootstrap
    distribution of the mean is not sampled but computed by its saddlepoint approximation (A. Davison, D.
    Hinkley, Biometrika 75, 1988; tail probability of R. Lugannani and S. Rice, 1980). The levels that remain
    after some hundred decisions are below 1e-6: 10,000 resamples cannot show such a tail, 100 million would
    take hours. The result needs no seed.

    Args:
        challenger: The log loss of each image (N,), in nats.
        champion: The same for the champion, in the same order.
        level: Probability that the gain is below `low`, and the same above `high`.

    Returns:
        The gain in mean log loss, in nats.
    """
    saved = champion - challenger
    gain, least = float(saved.mean()), 0.5 ** len(saved)
    if np.ptp(saved) < 1e-12:
        return Paired(gain, gain, gain, 0.5 if abs(gain) < 1e-12 else least if gain > 0 else 1 - least)
    return Paired(gain, *mean_interval(saved, level), _tail(saved, 0.0))


def mean_interval(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    """The bootstrap interval of a mean, computed as in `log_loss`.

    Args:
        values: One for each image (N,).
        level: Probability that the bootstrap mean is below the first bound, and the same above the second.
    """
    if np.ptp(values) < 1e-12:
        return float(values.mean()), float(values.mean())
    return _quantile(values, level), -_quantile(-values, level)


def class_drops(
    lost: NDArray[np.int64], gained: NDArray[np.int64], images: NDArray[np.int64], tolerated: float
) -> NDArray[np.float64]:
    """Test each class for a drop in recall, corrected for the number of classes.

    The test is exact and paired. Where no class is worse, every image that only one of the models classifies
    correctly could as well have been the other model's: each has a sign that chance decides. The p-value of a
    class is the probability that such signs give any class a drop beyond `tolerated` that is as conspicuous.
    Classes step down as in Holm (1979); the maximum takes the place of his sum: P. Westfall, S. Young,
    Resampling-Based Multiple Testing, 1993. The probability is a product over classes, so nothing is
    resampled.

    How conspicuous a drop is says `_surprise`. The p-values are exact whatever it says; it decides the power.
    Rejected: the drop divided by the square root of the class's images, which misses twice as many ruined
    classes at 101 x 30 (docs/promotion.md); and Holm's correction of McNemar's exact test, which counts
    classes that have too few images to be conspicuous (benchmarks/promotion_rules.py).

    Args:
        lost: Of each class (K,), images that only the champion classifies correctly.
        gained: Of each class (K,), images that only the challenger classifies correctly.
        images: Of each class (K,), its images; above 0.
        tolerated: A drop in recall that counts as none, from 0 to 1.

    Returns:
        The p-value of each class (K,); 1 for a class whose drop is tolerated.
    """
    from scipy.stats import binom

    differ = lost + gained
    # A row for each loss that signs can give a class: the class, the loss, its probability, its surprise.
    of_class = np.repeat(np.arange(len(images)), differ + 1)
    loss = np.arange(len(of_class)) - np.repeat(np.cumsum(differ + 1) - differ - 1, differ + 1)
    chance = binom.pmf(loss, differ[of_class], 0.5)
    surprise = _surprise(loss, differ, images, of_class)
    # A drop of exactly the tolerated is tolerated, whatever binary fractions make of it.
    least = np.floor(tolerated * images + 1e-9) + 1
    surprise[2 * loss - differ[of_class] < least[of_class]] = -np.inf
    observed = surprise[np.cumsum(differ + 1) - 1 - gained]
    p_values = np.ones(len(images))
    larger, remaining = 0.0, np.ones(len(images), bool)
    for number in np.argsort(-observed, kind="stable"):
        if observed[number] == -np.inf:
            break
        as_large = surprise >= observed[number] - 1e-9
        shares = np.bincount(of_class[as_large], chance[as_large], len(images))[remaining]
        p_values[number] = larger = max(larger, 1 - float(np.prod(1 - np.minimum(shares, 1.0))))
        remaining[number] = False
    return p_values


def _surprise(
    loss: NDArray[np.int64], differ: NDArray[np.int64], images: NDArray[np.int64], of_class: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How unexpected a class's loss is, given its gains and all classes: -log of the tail probability.

    Where no class is worse, losses and gains have the same rate, so a class's gains predict its losses; few
    gains say little, and then the rate of all classes counts (empirical Bayes with a gamma prior: H. Robbins,
    1956). Prior and tail follow from `differ` alone, which signs do not change.

    Args:
        loss: Of each row (R,), the images that its class loses.
        differ: Of each class (K,), the images that only one model classifies correctly.
        images: Of each class (K,), its images.
        of_class: Of each row (R,), its class.
    """
    from scipy.stats import nbinom

    rate = differ.sum() / images.sum()
    if not rate:
        return np.zeros(len(loss))
    # By moments: what the classes' rates differ by, beyond chance.
    excess = float(((differ - images * rate) ** 2 / images).mean() - rate)
    shape = min(rate**2 * float(images.mean()) / excess, _ALIKE) if excess > 0 else _ALIKE
    prior, count = 2 * shape / rate, images[of_class]
    gains = differ[of_class] - loss
    tail: NDArray[np.float64] = nbinom.logsf(loss - 1, shape + gains, (prior + count) / (prior + 2 * count))
    return -tail


def _tail(values: NDArray[np.float64], bound: float) -> float:
    """The probability that the bootstrap mean of `values` (N,) is at most `bound`."""
    from scipy.stats import norm

    count, error = len(values), float(values.std()) / len(values) ** 0.5
    # As if one image in 2^N were of the other sign: no sample is proof.
    least = 0.5**count
    if bound <= values.min() or bound >= values.max():
        return least if bound <= values.min() else 1 - least
    tilt, generating, variance = _saddlepoint(values, bound)
    root = float(np.sign(tilt)) * max(-2 * count * generating, 0.0) ** 0.5
    scaled = tilt * (count * variance) ** 0.5
    # At the mean itself the formula is 0 / 0, and the normal distribution is exact to the first order.
    if abs(root) < 1e-3 or abs(scaled) < 1e-3:
        return float(norm.cdf((bound - float(values.mean())) / error))
    tail = float(norm.cdf(root) + norm.pdf(root) * (1 / root - 1 / scaled))
    return min(max(tail, least), 1 - least)


def _saddlepoint(values: NDArray[np.float64], bound: float) -> tuple[float, float, float]:
    """The tilt under which the mean is `bound`; the cumulant generating function and the variance there.

    Of the values less `bound`, so that the generating function is the exponent of the tail.
    """
    from scipy.optimize import brentq
    from scipy.special import logsumexp

    centred = values - bound
    limit = 500 / float(np.abs(centred).max())

    def mean(tilt: float) -> float:
        weights = np.exp(tilt * centred)
        return float(weights @ centred / weights.sum())

    # A bound beside an extreme needs a tilt beyond what a float holds; the tail is then as good as empty.
    if mean(-limit) >= 0 or mean(limit) <= 0:
        tilt = limit if mean(limit) <= 0 else -limit
    else:
        tilt = float(brentq(mean, -limit, limit, rtol=1e-9))
    weights = np.exp(tilt * centred)
    weights /= weights.sum()
    generating = float(logsumexp(tilt * centred)) - float(np.log(len(values)))
    return tilt, generating, float(weights @ (centred - weights @ centred) ** 2)


def _quantile(values: NDArray[np.float64], level: float) -> float:
    """The value that the bootstrap mean of `values` (N,) is below with the probability `level`, under 0.5."""
    from scipy.optimize import brentq

    low, high = float(values.min()), float(values.mean())
    if _tail(values, low) >= level:
        return low
    return float(brentq(lambda bound: _tail(values, bound) - level, low, high, xtol=1e-9, rtol=1e-9))
