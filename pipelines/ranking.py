"""The table that a sweep ends with: its points, the best first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.markdown import code


@dataclass(frozen=True)
class Point:
    """A point of a sweep.

    Attributes:
        name: Its overrides.
        run: The id of its run.
        score: The metric that points are ranked by; None where its run failed or has no such metric.
    """

    name: str
    run: str
    score: float | None


def score(metrics: Mapping[str, Any], key: str) -> float | None:
    """Look a metric up by its dotted key.

    Args:
        metrics: Nested metrics: {"ensemble": {"accuracy": 0.99}}.
        key: ensemble.accuracy; with a `-` in front for a metric whose lowest value is best.

    Returns:
        The number; None where there is none.
    """
    value: Any = metrics
    for part in key.removeprefix("-").split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def ranked(points: Sequence[Point], key: str) -> list[Point]:
    """Sort points, the best first, those without a score last."""
    sign = 1 if key.startswith("-") else -1
    return sorted(points, key=lambda point: (point.score is None, sign * (point.score or 0.0)))


def table(points: Sequence[Point], key: str, pages: str) -> str:
    """Write ranked points as a Markdown table.

    Args:
        points: In the order of the rows.
        key: The name of the column of scores.
        pages: The address that a run's id is appended to.
    """
    scores = ["none" if point.score is None else f"{point.score:.6g}" for point in points]
    # Overrides have `*` for all members, and a bar would end the cell.
    names = [code(point.name).replace("|", "\\|") for point in points]
    rows = [
        f"| {number} | [{name}]({pages}{point.run}) | {score} |"
        for number, (point, name, score) in enumerate(zip(points, names, scores, strict=True), start=1)
    ]
    return "\n".join([f"| | point | {key.removeprefix('-')} |", "|---|---|---|", *rows])
