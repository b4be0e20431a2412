"""Figures in one style: colour-blind safe, readable in print, without a display."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Okabe and Ito's palette: blue for training, orange for validation.
TRAIN, VAL = "#0072B2", "#E69F00"
_MAX_NUMBERED = 20


def history(series: dict[str, list[float]]) -> Figure:
    """Loss and accuracy per epoch, or for a grid search its loss over the values tried."""
    if "epoch" in series:
        return _curves(series)
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(series["c"], series["cv_log_loss"], marker="o", color=VAL)
    axes.set(xlabel="C", ylabel="log loss, cross-validated")
    axes.grid(alpha=0.3)
    return figure


def _curves(series: dict[str, list[float]]) -> Figure:
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(series["epoch"], series[name], color=TRAIN, label="train")
        axes.plot(series["epoch"], series[f"val_{name}"], color=VAL, linestyle="--", label="val")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def confusion(matrix: NDArray[np.int64], classes: list[str], title: str) -> Figure:
    """Counts as numbers, shaded by the share of the actual class; numbers are left out above 20 classes."""
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = 2.5 + 0.45 * min(len(classes), 40)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(classes))
    axes.set_xticks(ticks, classes, rotation=90)
    axes.set_yticks(ticks, classes)
    axes.set(xlabel="predicted", ylabel="actual", title=title)
    if len(classes) <= _MAX_NUMBERED:
        for (row, column), count in np.ndenumerate(matrix):
            color = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=8)
    return figure


def contact_sheet(columns: list[NDArray[np.uint8]], names: list[str]) -> Figure:
    """Pictures side by side: `columns` of uint8 (N, H, W, C), one line per picture and its name in front."""
    figure = Figure(figsize=(1.2 * len(columns), 1.2 * len(names)), layout="constrained", dpi=150)
    grid = figure.subplots(len(names), len(columns), squeeze=False)
    for line, name, place in zip(grid, names, range(len(names)), strict=True):
        line[0].set_ylabel(name, fontsize=8)
        for axes, pictures in zip(line, columns, strict=True):
            axes.imshow(pictures[place], cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
    grid[0, 0].set_title("packed", fontsize=8)
    return figure
