"""Drift: how far one profile is from the accepted one, in figures between 0 (the same) and 1."""

from typing import Any, Literal

Verdict = Literal["pass", "warn", "stop"]


def compare(now: dict[str, Any], accepted: dict[str, Any], warn: float, stop: float) -> dict[str, Any]:
    """Total variation of the class mix, and the Kolmogorov-Smirnov statistic of every other figure.

    Each is the largest share of images that would have to change. One within `chance`, what two samples of
    these sizes from the same images exceed in one of a hundred cases, passes whatever the thresholds.
    """
    from scipy.stats import ks_2samp

    chance = 1.628 * (1 / now["pictures"] + 1 / accepted["pictures"]) ** 0.5
    values = {"class_mix": _total_variation(now, accepted)}
    for name, quantiles in accepted["quantiles"].items():
        values[name] = float(ks_2samp(now["quantiles"][name], quantiles, method="asymp").statistic)
    figures = {
        name: {"value": round(value, 4), "verdict": _verdict(value, warn, stop, chance)}
        for name, value in values.items()
    }
    verdicts = [figure["verdict"] for figure in figures.values()]
    worst = max(verdicts, key=("pass", "warn", "stop").index)
    return {"verdict": worst, "warn": warn, "stop": stop, "chance": round(chance, 4), "figures": figures}


def _verdict(value: float, warn: float, stop: float, chance: float) -> Verdict:
    if value <= chance or value < warn:
        return "pass"
    return "warn" if value < stop else "stop"


def _total_variation(now: dict[str, Any], accepted: dict[str, Any]) -> float:
    labels = sorted({*now["classes"], *accepted["classes"]})
    shares = (
        abs(
            now["classes"].get(label, 0) / now["pictures"]
            - accepted["classes"].get(label, 0) / accepted["pictures"]
        )
        for label in labels
    )
    return float(sum(shares)) / 2
