"""What is tracked of a member or an ensemble on a split: the same files by train and by evaluate."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from numpy.typing import NDArray

from stages.data.decoding import Pixels
from stages.report.figures import charts, style
from stages.scoring import Labels, Probabilities, metrics
from stages.scoring.calibration import reliability

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from stages.tracking import Run

# Images (n, H, W, C) of rows by their numbers.
Images = Callable[[NDArray[np.int64]], Pixels]
_ERRORS, _ACROSS = 24, 6


def track(
    run: "Run",
    name: str,
    labels: Labels,
    probabilities: Probabilities,
    classes: Sequence[str],
    images: Images | None,
) -> None:
    """Log confusion tables, the table of classes, the reliability diagram and the surest errors as `name`.

    `labels` (N,) are class indices, `probabilities` (N, K); without `images` the errors are left out.
    """
    matrix = metrics.confusion(labels, probabilities)
    run.figure(charts.confusion(matrix, list(classes), name), f"confusion_{name}.png")
    shares = charts.confusion(matrix, list(classes), name, normalized=True)
    run.figure(shares, f"confusion_normalized_{name}.png")
    found = reliability(labels, probabilities, metrics.DEFAULT_BINS)
    run.figure(charts.reliability(found), f"reliability_{name}.png")
    run.text(_per_class(labels, probabilities, classes), f"per_class/{name}.csv")
    wrong = metrics.surest_errors(labels, probabilities, _ERRORS)
    if images and wrong:
        captions = [_caption(labels[row], probabilities[row], classes) for row in wrong]
        run.figure(errors(images(np.asarray(wrong)), captions), f"errors_{name}.png")


@rc_context(style.FIGURE)
def errors(images: Pixels, captions: Sequence[str]) -> "Figure":
    """Images uint8 (N, H, W, 1 or 3), six to a line, each with its caption above."""
    from matplotlib.figure import Figure

    lines = -(-len(images) // _ACROSS)
    figure = Figure(figsize=(1.6 * _ACROSS, 1.95 * lines), layout="constrained", dpi=120)
    grid = figure.subplots(lines, _ACROSS, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, image, caption in zip(grid, images, captions, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_title(caption, fontsize=7, fontweight="normal")
    return figure


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """CSV: a line per row, with its name in front, and the columns of the first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", *next(iter(rows.values()))])
    writer.writerows([name, *row.values()] for name, row in rows.items())
    return text.getvalue()


def _per_class(labels: Labels, probabilities: Probabilities, classes: Sequence[str]) -> str:
    found = metrics.per_class(labels, probabilities)
    return table(
        {
            name: {
                "precision": found.precision[row],
                "recall": found.recall[row],
                "f1": found.f1[row],
                "support": found.support[row],
            }
            for row, name in enumerate(classes)
        }
    )


def _caption(label: int, probabilities: NDArray[np.floating[Any]], classes: Sequence[str]) -> str:
    taken_for = int(probabilities.argmax())
    return f"{_short(classes[label])} taken for\n{_short(classes[taken_for])}, {probabilities[taken_for]:.0%}"


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"
