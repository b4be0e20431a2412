"""Files about a member or an ensemble on a split: the same from `train` and from `evaluate`.

Bounds, so that a run stays small for any number of classes: a confusion matrix is drawn up to 1,000 classes,
with names up to 40; beyond, and always, `confusions/NAME.csv` lists the 1,000 commonest confusions.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from matplotlib import rc_context
from numpy.typing import NDArray

from stages.data.decoding import Pixels
from stages.report.figures import charts, style
from stages.scoring import confusions, metrics
from stages.scoring.calibration import reliability
from stages.scoring.predictions import Predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Images (n, H, W, C) of rows by their numbers.
Images = Callable[[NDArray[np.int64]], Pixels]
_SHOWN, _ACROSS = 24, 6
MATRIX_CLASSES = 1_000
CONFUSIONS = 1_000


class Log(Protocol):
    """What takes the files: a run."""

    def figure(self, figure: "Figure", name: str) -> None:
        """Take a figure under a file name."""

    def text(self, text: str, name: str) -> None:
        """Take text under a file name."""


def log_results(
    log: Log,
    name: str,
    predictions: Predictions,
    classes: Sequence[str],
    images: Images | None,
) -> None:
    """Log confusion matrices, confusions, figures of each class, the reliability diagram, and images.

    Args:
        log: takes each file.
        name: part of every file's name: a member, the ensemble, or a split.
        predictions: of N images and K classes.
        classes: the K names.
        images: reads images by row number, for a sample of 24 (Starter Bundle ch. 13) and for the 24 most
            confident errors, each with its labels; None leaves both out.
    """
    if len(classes) <= MATRIX_CLASSES:
        matrix = metrics.confusion(predictions)
        log.figure(charts.confusion(matrix, list(classes), name), f"confusion_{name}.png")
        shares = charts.confusion(matrix, list(classes), name, normalized=True)
        log.figure(shares, f"confusion_normalized_{name}.png")
    log.text(_confusions(predictions, classes), f"confusions/{name}.csv")
    log.figure(
        charts.reliability(reliability(predictions, metrics.DEFAULT_BINS)),
        f"reliability_{name}.png",
    )
    log.text(_per_class(predictions, classes), f"per_class/{name}.csv")
    if images:
        for kind, rows in (
            ("predictions", _sample(len(predictions))),
            ("errors", metrics.surest_errors(predictions, _SHOWN)),
        ):
            captions = [_caption(predictions, row, classes) for row in rows]
            if rows:
                log.figure(captioned(images(np.asarray(rows)), captions), f"{kind}_{name}.png")


@rc_context(style.FIGURE)
def captioned(images: Pixels, captions: Sequence[str]) -> "Figure":
    """Draw images uint8 (N, H, W, 1 or 3), six to a line, each with its caption above."""
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
    """Write CSV text: a line per row, its name first, with the columns of the first row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", *next(iter(rows.values()))])
    writer.writerows([name, *row.values()] for name, row in rows.items())
    return text.getvalue()


def _confusions(predictions: Predictions, classes: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["actual", "predicted", "images"])
    for pair in confusions.commonest(predictions.labels, predictions.predicted, CONFUSIONS):
        writer.writerow([classes[pair.actual], classes[pair.predicted], pair.count])
    return text.getvalue()


def _per_class(predictions: Predictions, classes: Sequence[str]) -> str:
    scores = metrics.per_class(predictions)
    return table(
        {
            name: {
                "precision": scores.precision[row],
                "recall": scores.recall[row],
                "f1": scores.f1[row],
                "support": scores.support[row],
            }
            for row, name in enumerate(classes)
        }
    )


def _sample(images: int) -> list[int]:
    """Up to 24 rows of a split, the same in each run on it, so that members and runs show the same images."""
    rows = np.random.default_rng(0).permutation(images)[:_SHOWN]
    return sorted(rows.tolist())


def _caption(predictions: Predictions, row: int, classes: Sequence[str]) -> str:
    # Not by `predictions.predicted` and the like: each is of all images.
    label, probabilities = predictions.labels[row], predictions.probabilities[row]
    predicted = int(probabilities.argmax())
    if predicted == label:
        return f"{_short(classes[label])}\n{probabilities[predicted]:.0%}"
    return f"{_short(classes[label])} taken for\n{_short(classes[predicted])}, {probabilities[predicted]:.0%}"


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"
