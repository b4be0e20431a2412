"""An execution in a few figures: what MLflow's list of runs shows of it, and its description there."""

import re
from collections.abc import Mapping, Sequence

from stages.scoring import metrics

Scores = Mapping[str, Mapping[str, float]]
_COLUMNS = {"log_loss": "log loss", "ece": "ECE", "macro_f1": "macro F1"}


def figures(scores: Scores) -> dict[str, float]:
    """Return `NAME.METRIC` of every member and the ensemble, and the bounds of the accuracy's interval."""
    values = {f"{name}.{key}": float(value) for name, row in scores.items() for key, value in row.items()}
    for name, row in scores.items():
        values[f"{name}.accuracy_low"], values[f"{name}.accuracy_high"] = _interval(row)
    return values


def params(overrides: Sequence[str]) -> dict[str, str]:
    """Return params that differ from the recipe's by dotted key; of Hydra's overrides, `~KEY` is one gone."""
    pairs = [override.partition("=") for override in overrides]
    return {key.lstrip("+~"): value or "removed" for key, _, value in pairs}


def note(recipe: str, scores: Scores, overrides: Sequence[str]) -> str:
    """Return the description in Markdown: figures on the test split, and what differs from the recipe."""
    rows = [[name, _accuracy(row), *(f"{row[key]:.4f}" for key in _COLUMNS)] for name, row in scores.items()]
    count = int(next(iter(scores.values()))["n"])
    header = ["member", "accuracy (95 % interval)", *_COLUMNS.values()]
    table = [header, ["---"] * len(header), *rows]
    lines = [f"Recipe **{recipe}** on {count:,} images of the test split:", ""]
    lines += [f"| {' | '.join(row)} |" for row in table]
    changed = ", ".join(map(code, overrides)) or "nothing"
    return "\n".join([*lines, "", f"Differs from the recipe: {changed}"])


def code(text: str) -> str:
    """Return text as a code span of Markdown, in which nothing is markup; line breaks become blanks."""
    line = " ".join(text.split())
    # The only way out of a span is as many backticks as begin it.
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"


def _accuracy(row: Mapping[str, float]) -> str:
    low, high = _interval(row)
    return f"{row['accuracy']:.4f} ({low:.4f} to {high:.4f})"


def _interval(row: Mapping[str, float]) -> tuple[float, float]:
    return metrics.interval(row["accuracy"], int(row["n"]))
