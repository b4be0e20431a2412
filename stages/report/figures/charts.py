"""Figures in one style, drawn without a display."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from stages.report.figures import style
from stages.report.figures.style import TRAIN, VAL
from stages.scoring.calibration import Reliability

History = Mapping[str, Sequence[float]]
# Inches; 326 pixels wide in a browser.
_PANEL = (3.4, 2.6)
_MAX_NUMBERED = 20
MAX_NAMED = 40
_LONGEST = 30
# Inches: a pixel per class at 100 pixels an inch and 1,000 classes.
_UNNAMED_SIDE = 10.0


@rc_context(style.FIGURE)
def history(series: History) -> Figure:
    """Draw loss, accuracy and learning rate per epoch, or a grid search's loss over the values tried."""
    names = _panels(series)
    figure = Figure(figsize=(4.5 * len(names), 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _draw(axes, series, name)
    return figure


@rc_context(style.FIGURE)
def panels(series: History) -> dict[str, Figure]:
    """Draw what `history` draws, each curve as a figure of its own, for a page as narrow as a phone.

    Returns:
        Name of the series → figure; empty for a member without a history.
    """
    figures = {name: Figure(figsize=_PANEL, layout="constrained") for name in _panels(series)}
    for name, figure in figures.items():
        _draw(figure.subplots(), series, name)
    return figures


def _panels(series: History) -> list[str]:
    names = ("loss", "accuracy", "learning_rate") if "epoch" in series else ("cv_log_loss",)
    return [name for name in names if name in series]


def _draw(axes: Axes, series: History, name: str) -> None:
    if "epoch" not in series:
        axes.semilogx(series["c"], series[name], marker="o", color=VAL)
        axes.set(xlabel="C", ylabel="log loss, cross-validated")
        return
    # A single epoch is a point, which a line alone would not show.
    marker = "o" if len(series["epoch"]) == 1 else None
    axes.plot(series["epoch"], series[name], color=TRAIN, label="train", marker=marker)
    if val := series.get(f"val_{name}"):
        axes.plot(series["epoch"], val, color=VAL, linestyle="--", label="val", marker=marker)
        axes.legend()
    axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))


@rc_context(style.FIGURE)
def range_test(rates: Sequence[float], losses: Sequence[float], suggested: float) -> Figure:
    """Draw the loss over the learning rate on a logarithmic scale, and the rate to start with."""
    figure = Figure(figsize=(4.5, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(rates, losses, color=TRAIN)
    axes.axvline(suggested, color=VAL, linestyle="--", label=f"start with {suggested:.1e}")
    axes.set(xlabel="learning rate", ylabel="loss, smoothed", ylim=(0, 1.5 * losses[0]))
    axes.legend()
    return figure


@rc_context(style.FIGURE)
def reliability(bins: Reliability) -> Figure:
    """Draw accuracy over confidence and the ideal line; below, the number of images in each bin."""
    figure = Figure(figsize=(_PANEL[0], 1.35 * _PANEL[1]), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled, width = bins.count > 0, 1 / len(bins.count)
    middles = (np.arange(len(bins.count)) + 0.5) * width
    above.plot([0, 1], [0, 1], color=style.LIGHT["dim"], linestyle=":", label="perfect")
    above.plot(
        bins.confidence[filled], bins.accuracy[filled], color=TRAIN, marker="o", label="accuracy of a bin"
    )
    above.set(ylabel="accuracy", ylim=(-0.03, 1.03), xlim=(-0.03, 1.03))
    figure.legend(loc="outside upper center", ncols=2)
    below.bar(middles, bins.count, width=0.9 * width, color=TRAIN)
    below.set(xlabel="confidence", ylabel="images")
    below.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    return figure


@rc_context(style.FIGURE)
def confusion(
    matrix: NDArray[np.int64], classes: list[str], title: str, *, normalized: bool = False
) -> Figure:
    """Draw a confusion matrix: counts, or `normalized` shares of the actual class. Shares shade both.

    Args:
        matrix: counts (K, K), actual classes in rows.
        classes: the K names; shown up to 40 classes.
        title: above the matrix.
        normalized: write shares instead of counts; either is written up to 20 classes.
    """
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    named = len(classes) <= MAX_NAMED
    # Long names would leave no place for the matrix.
    names = [_short(name) for name in classes] if named else []
    side = 1.5 + 0.45 * len(names) + 0.09 * max(map(len, names)) if named else _UNNAMED_SIDE
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.grid(visible=False)
    # Above 40 classes names would overlap, and laying them out takes longer than all else.
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="actual", title=title)
    if len(classes) <= _MAX_NUMBERED:
        for (row, column), count in np.ndenumerate(matrix):
            color = "white" if share[row, column] > 0.5 else "black"
            shown = f"{share[row, column]:.2f}".removeprefix("0") if normalized else str(count)
            axes.text(column, row, shown, ha="center", va="center", color=color, fontsize=8)
    return figure


@rc_context(style.FIGURE)
def contact_sheet(columns: list[NDArray[np.uint8]], names: list[str]) -> Figure:
    """Draw images side by side: `columns` of uint8 (N, H, W, C), one line per image, its name first."""
    figure = Figure(figsize=(1.2 * len(columns), 1.2 * len(names)), layout="constrained", dpi=150)
    grid = figure.subplots(len(names), len(columns), squeeze=False)
    for line, name, place in zip(grid, names, range(len(names)), strict=True):
        line[0].set_ylabel(name, fontsize=8)
        for axes, images in zip(line, columns, strict=True):
            axes.imshow(images[place], cmap="gray", vmin=0, vmax=255)
            axes.grid(visible=False)
            axes.set(xticks=[], yticks=[])
    grid[0, 0].set_title("packed", fontsize=8)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
