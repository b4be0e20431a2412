"""Runs side by side, as plain values for the terminal and for compare.html.j2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from stages.report.figures import style
from stages.report.pages.compared import Compared, Part
from stages.scoring import intervals, metrics, significance
from stages.scoring.predictions import TOP, Predictions

LEVEL = 0.05
_METRICS = {
    "accuracy": "Accuracy",
    "top5_accuracy": "Top-5 accuracy",
    "macro_f1": "Macro F1",
    "log_loss": "Log loss",
    "ece": "Expected calibration error",
}
_COST = {
    "fit_seconds": ("Seconds to fit", "{:,.1f}"),
    "images_per_second": ("Images/s", "{:,.0f}"),
    "data_wait_share": ("Waiting for data", "{:.0%}"),
    "fit_peak_memory_mib": ("Peak memory in MiB", "{:,.0f}"),
}
_NOTHING = "-"


@dataclass(frozen=True)
class Section:
    """A member, or the ensemble: rows of cells, one per run, by the heading above them."""

    name: str
    rows: dict[str, list[tuple[str, list[str]]]]
    curves: dict[str, Figure]


def sections(runs: Sequence[Compared]) -> list[Section]:
    """One for each member or ensemble that any of the runs has."""
    names = dict.fromkeys(name for run in runs for name in run.parts)
    return [
        _section(name, [run.parts.get(name) for run in runs], [run.name for run in runs]) for name in names
    ]


def about(runs: Sequence[Compared]) -> list[tuple[str, list[str]]]:
    """What the runs are of, where it differs."""
    keys = {
        "git.commit": "Commit",
        "git.dirty": "Uncommitted changes",
        "manifest": "Images",
        "host": "Machine",
    }
    words = {"true": "yes", "false": "no"}
    rows = []
    for key, title in keys.items():
        values = [run.tags.get(key, _NOTHING) for run in runs]
        # Digests differ within their first digits; hosts of a cluster may differ in their last letter.
        length = 12 if key in ("git.commit", "manifest") else None
        rows.append((title, [words.get(value, value[:length]) for value in values]))
    return [(title, cells) for title, cells in rows if len(set(cells)) > 1]


def text(runs: Sequence[Compared], sections_shown: Sequence[Section]) -> str:
    """For a terminal."""
    table: list[list[str]] = [["", *(run.name for run in runs)], ["run", *(run.run_id[:8] for run in runs)]]
    table += [[title, *cells] for title, cells in about(runs)]
    for section in sections_shown:
        table += [[], [section.name]]
        table += [[f"  {title}", *cells] for rows in section.rows.values() for title, cells in rows]
    widths = [max(len(row[place]) for row in table if len(row) > place) for place in range(len(runs) + 1)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in table]
    return "\n".join(line.rstrip() for line in lines)


def _section(name: str, parts: Sequence[Part | None], labels: Sequence[str]) -> Section:
    rows = {
        "Run": [("Id", [part.run_id[:8] if part else _NOTHING for part in parts])],
        "On the test split": _metrics(parts),
        "Params that differ": _differing([part.params if part else {} for part in parts]),
        "Cost": _cost(parts),
    }
    return Section(name, {title: lines for title, lines in rows.items() if lines}, _curves(parts, labels))


def _metrics(parts: Sequence[Part | None]) -> list[tuple[str, list[str]]]:
    """With an interval where there are predictions, and the difference to the first run."""
    ranges = [_intervals(part) for part in parts]
    rows = []
    for key, title in _METRICS.items():
        values = [part.metrics.get(f"test_{key}") if part else None for part in parts]
        if any(value is not None for value in values):
            rows.append(
                (title, [_ranged(v, within.get(key)) for v, within in zip(values, ranges, strict=True)])
            )
    against = [_against(parts[0], part) for part in parts[1:]]
    if any(cell != _NOTHING for cell in against):
        rows.append(("Accuracy against the first", ["", *against]))
    return rows


def _intervals(part: Part | None) -> Mapping[str, intervals.Interval]:
    if part is None or part.predictions is None:
        return {}
    predictions = part.predictions
    shares = {"accuracy": predictions.accuracy, "top5_accuracy": predictions.top_accuracy(TOP)}
    ranges = {name: metrics.interval(share, len(predictions)) for name, share in shares.items()}
    ranges["log_loss"] = intervals.log_loss(predictions, LEVEL)
    ranges["macro_f1"] = intervals.macro_f1(predictions, LEVEL)
    return ranges


def _ranged(value: float | None, within: intervals.Interval | None) -> str:
    if value is None:
        return _NOTHING
    return f"{value:.4f}" + (f" ({within[0]:.4f} to {within[1]:.4f})" if within else "")


def _against(first: Part | None, part: Part | None) -> str:
    """McNemar's test, where both were judged on the same images."""
    if first is None or part is None or first.predictions is None or part.predictions is None:
        return _NOTHING
    if not np.array_equal(np.sort(first.predictions.ids), np.sort(part.predictions.ids)):
        return "other images"
    paired = significance.accuracy(_correct(part.predictions), _correct(first.predictions), LEVEL / 2)
    return f"{paired.gain:+.4f} (p = {paired.two_sided:.2g}; +{paired.gained} -{paired.lost})"


def _correct(predictions: Predictions) -> NDArray[np.bool_]:
    """In the order of the ids, as another run may have another order."""
    return np.asarray(predictions.correct[np.argsort(predictions.ids)])


def _differing(params: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    keys = dict.fromkeys(key for run in params for key in run)
    rows = [(key, [run.get(key, _NOTHING) for run in params]) for key in keys]
    return [(key, cells) for key, cells in rows if len(set(cells)) > 1]


def _cost(parts: Sequence[Part | None]) -> list[tuple[str, list[str]]]:
    rows = []
    for key, (title, shape) in _COST.items():
        values = [part.metrics.get(key) if part else None for part in parts]
        if any(value is not None for value in values):
            rows.append((title, [_NOTHING if value is None else shape.format(value) for value in values]))
    return rows


@rc_context(style.FIGURE)
def _curves(parts: Sequence[Part | None], labels: Sequence[str]) -> dict[str, Figure]:
    """Loss and accuracy over epochs, a colour for each training: on val solid, on train dotted."""
    # A training that several executions took from the cache is a single line.
    trained = {part.run_id: part for part in parts if part}
    names = [(part.run_id, label) for part, label in zip(parts, labels, strict=True) if part]
    figures = {}
    for key in ("loss", "accuracy"):
        if not any(key in part.curves for part in trained.values()):
            continue
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.subplots()
        for number, (run_id, part) in enumerate(trained.items()):
            colour = style.SERIES[number % len(style.SERIES)]
            label = ", ".join(label for name_id, label in names if name_id == run_id)
            for name, line in ((key, ":"), (f"val_{key}", "-")):
                if points := part.curves.get(name):
                    marker = "o" if len(points) == 1 else None
                    drawn, *_ = axes.plot(*zip(*points, strict=True), line, color=colour, marker=marker)
                    drawn.set_label(label if line == "-" else "_train")
        axes.set(xlabel="epoch", ylabel=key)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        figure.legend(loc="outside upper center", ncols=2, fontsize="small")
        figures[key] = figure
    return figures
