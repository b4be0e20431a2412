"""Drift: whether two profiles differ by more than chance explains, and by how much.

A profile (stages/data/profile.py) is a class mix and the distribution of each continuous figure. Of images
these are labels, size, brightness, contrast and sharpness; of predictions, predicted classes and confidence.

The rule. A figure drifted if it is significant and its value is at least `warn`. Significance keeps the
chance of any alarm in a run on unchanged data at `false_alarms` or less: every figure is tested at
`false_alarms` / number of figures (Bonferroni; Holm's correction would gain next to nothing with 7 figures).
The value keeps differences out that are real and too small to matter, which large samples always show.

The tests, and why these; docs/drift.md has their error rates for 2 to 200 classes:

- A continuous figure: the two-sample Kolmogorov-Smirnov test. Ties only make it more cautious.
- `class_mix`: total variation, by a permutation test: labels are shuffled between the two samples. Exact
  for any number of classes and any sizes (Phipson and Smyth 2010). Rejected: the Kolmogorov-Smirnov bound,
  as total variation grows with the number of classes (65 % false alarms with 101 classes, 3,000 images
  each); a chi-square test, which is wrong where classes have fewer than five images.
- `class_share`: the one class that changed most, by Fisher's exact test, corrected over the classes. Total
  variation alone finds one halved class of ten in half of the draws at 2,000 images; this test in 98 %.

The tests assume that images are independent draws. Near copies, such as frames of one video, cause more false
alarms; data that contain the accepted images cause fewer.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.data.profile import summary

Verdict = Literal["pass", "warn", "stop"]
Profile = Mapping[str, Any]
_VERDICTS: tuple[Verdict, ...] = ("pass", "warn", "stop")
# The same profiles always get the same verdict.
_SEED = 0
# Quantiles are 0.001 apart: so far a statistic can be from that of the images themselves, on either side.
_RESOLUTION = 0.002
_CHUNK = 100
# So many shuffles at least as far apart as the samples rule out a significant p-value.
_ENOUGH = 10


def compare(
    now: Profile, accepted: Profile, *, warn: float, stop: float, false_alarms: float
) -> dict[str, Any]:
    """Compare a profile with the accepted one.

    Args:
        now: the profile of today's data: `pictures`, `classes` (label → count), `quantiles` of each figure.
        accepted: the reference profile, with the same figures.
        warn: from this value on, 0 to 1, a significant figure warns.
        stop: from this value on it stops. `class_share` warns at most.
        false_alarms: the highest chance of a verdict other than `pass` on unchanged data, 0.001 to 1.

    Returns:
        `verdict` (the worst of all figures), `warn`, `stop`, `false_alarms`, and `figures`: of each its
        `value`, its `p_value` corrected for the number of figures, its `verdict`, and what changed:
        `medians` (accepted, now) of a continuous figure, the `class` and its `shares` of `class_share`. The
        value is the Kolmogorov-Smirnov statistic or the total variation: the share of images that would have
        to change. Of `class_share` it is 1 - smaller share / larger share.

    Raises:
        KeyError: a profile lacks a figure, or the accepted one has another.
        ValueError: the accepted profile has a figure without values, or with one that is no number.
        ZeroDivisionError: a profile is of no images.
    """
    if accepted["quantiles"].keys() != now["quantiles"].keys():
        raise KeyError("quantiles")
    count = 2 + len(accepted["quantiles"])
    level = false_alarms / count
    figures = {
        "class_mix": _class_mix(now, accepted, level),
        "class_share": _class_share(now, accepted),
    } | {name: _continuous(now, accepted, name) for name in accepted["quantiles"]}
    for name, figure in figures.items():
        significant = figure["p_value"] <= level
        verdict = _verdict(figure["value"], warn, stop) if significant else "pass"
        figure["verdict"] = "warn" if name == "class_share" and verdict == "stop" else verdict
        figure["p_value"] = float(f"{min(1.0, count * figure['p_value']):.3g}")
        figure["value"] = round(figure["value"], 4)
    worst = max((figure["verdict"] for figure in figures.values()), key=_VERDICTS.index)
    return {"verdict": worst, "warn": warn, "stop": stop, "false_alarms": false_alarms, "figures": figures}


def compare_predictions(
    now: NDArray[np.floating[Any]],
    accepted: NDArray[np.floating[Any]],
    classes: Sequence[str],
    *,
    warn: float,
    stop: float,
    false_alarms: float,
) -> dict[str, Any]:
    """Compare a model's predictions on new images with those on its own test split; no labels are needed.

    Args:
        now: class probabilities (N, K) of the new images.
        accepted: class probabilities (M, K) of the test split.
        classes: the K class names.
        warn: as for `compare`.
        stop: as for `compare`.
        false_alarms: as for `compare`.

    Returns:
        As `compare` does: `class_mix` and `class_share` are of predicted classes, `confidence` is the only
        continuous figure.

    Raises:
        ZeroDivisionError: there are no images on one side.
    """
    profiles = [of_predictions(probabilities, classes) for probabilities in (now, accepted)]
    return compare(profiles[0], profiles[1], warn=warn, stop=stop, false_alarms=false_alarms)


def of_predictions(probabilities: NDArray[np.floating[Any]], classes: Sequence[str]) -> dict[str, Any]:
    """Summarize class probabilities (N, K): predicted classes, and quantiles of the confidence.

    Raises:
        ZeroDivisionError: there are no images.
    """
    if not len(probabilities):
        raise ZeroDivisionError("no predictions")
    labels = [classes[row] for row in probabilities.argmax(axis=1).tolist()]
    return summary(labels, {"confidence": probabilities.max(axis=1).astype(np.float64)})


def _verdict(value: float, warn: float, stop: float) -> Verdict:
    return "pass" if value < warn else "warn" if value < stop else "stop"


def _continuous(now: Profile, accepted: Profile, name: str) -> dict[str, Any]:
    from scipy.stats import ks_2samp, kstwo

    new, old = now["quantiles"][name], accepted["quantiles"][name]
    if not len(old) or not np.isfinite(old).all():
        raise ValueError(f"quantiles of {name}")
    statistic = float(ks_2samp(new, old, method="asymp").statistic)
    effective = 1 / (1 / now["pictures"] + 1 / accepted["pictures"])
    p_value = float(kstwo.sf(max(0.0, statistic - _RESOLUTION), max(1, round(effective))))
    return {"value": statistic, "p_value": p_value, "medians": [float(np.median(old)), float(np.median(new))]}


def _counts(now: Profile, accepted: Profile) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """The labels (K,) of both profiles, and their counts (K,) in each."""
    labels = sorted({*now["classes"], *accepted["classes"]})
    new, old = (
        np.array([profile["classes"].get(label, 0) for label in labels], np.int64)
        for profile in (now, accepted)
    )
    if not new.sum() or not old.sum():
        raise ZeroDivisionError("a profile of no images")
    return labels, new, old


def _class_mix(now: Profile, accepted: Profile, level: float) -> dict[str, Any]:
    """Total variation, and its p-value by shuffling labels between the samples.

    Without drift, drawing ends early: once ten shuffles are at least as far apart as the samples, the p-value
    cannot become significant any more (J. Besag, P. Clifford 1991). Otherwise there are 4 / `level` shuffles,
    2,800 at the default: 2.4 s for 1,000 classes.
    """
    _, new, old = _counts(now, accepted)
    value = float(_total_variation(new, old))
    draw = np.random.default_rng(_SEED)
    pooled, most = new + old, int(np.ceil(4 / level))
    as_far = drawn = 0
    while drawn < most and as_far < _ENOUGH:
        shuffled = draw.multivariate_hypergeometric(pooled, new.sum(), _CHUNK, method="marginals")
        # Equal but for rounding counts as equally far.
        as_far += int((_total_variation(shuffled, pooled - shuffled) >= value - 1e-12).sum())
        drawn += _CHUNK
    return {"value": value, "p_value": (as_far + 1) / (drawn + 1)}


def _total_variation(new: NDArray[np.int64], old: NDArray[np.int64]) -> NDArray[np.float64]:
    """Half the summed differences of the shares, of counts (..., K)."""
    shares = new / new.sum(axis=-1, keepdims=True) - old / old.sum(axis=-1, keepdims=True)
    distance: NDArray[np.float64] = np.abs(shares).sum(axis=-1) / 2
    return distance


def _class_share(now: Profile, accepted: Profile) -> dict[str, Any]:
    """The class whose share changed most significantly: Fisher's exact test, both tails, all classes."""
    from scipy.stats import hypergeom

    labels, new, old = _counts(now, accepted)
    total, drawn = int((new + old).sum()), int(new.sum())
    lower = hypergeom.cdf(new, total, new + old, drawn)
    upper = hypergeom.sf(new - 1, total, new + old, drawn)
    p_values = 2 * np.minimum(lower, upper)
    row = int(p_values.argmin())
    shares = [float(old[row] / old.sum()), float(new[row] / new.sum())]
    return {
        "value": 1 - min(shares) / max(shares),
        "p_value": float(min(1.0, len(labels) * p_values[row])),
        "class": labels[row],
        "shares": [round(share, 4) for share in shares],
    }
