"""Figures show what they are given."""

import io
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from stages.report.figures import charts, results
from stages.scoring.calibration import reliability
from stages.scoring.predictions import Predictions


def render(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


class Recorder:
    """Keeps what it is handed, by file name."""

    def __init__(self) -> None:
        self.files: dict[str, Any] = {}

    def figure(self, figure: Figure, name: str) -> None:
        self.files[name] = figure

    def text(self, text: str, name: str) -> None:
        self.files[name] = text


def test_learning_curves_show_training_and_validation() -> None:
    series = {
        "epoch": [1.0, 2.0],
        "loss": [0.9, 0.5],
        "val_loss": [1.0, 0.7],
        "accuracy": [0.5, 0.8],
        "val_accuracy": [0.4, 0.7],
    }
    figure = charts.history(series)
    loss, accuracy = figure.axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [[0.9, 0.5], [1.0, 0.7]]
    assert [line.get_ydata().tolist() for line in accuracy.lines] == [[0.5, 0.8], [0.4, 0.7]]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["train", "val"]
    assert render(figure).startswith(b"\x89PNG")


def test_the_learning_rate_is_a_curve_of_its_own_where_it_is_known() -> None:
    series = {"epoch": [1.0], "loss": [0.9], "val_loss": [1.0], "learning_rate": [0.1]}
    loss, rate = charts.history(series).axes
    assert rate.get_ylabel() == "learning rate"
    assert rate.get_legend() is None
    # A single epoch would be no line.
    assert {line.get_marker() for line in (*loss.lines, *rate.lines)} == {"o"}


def test_panels_are_the_same_curves_one_by_one() -> None:
    series = {"epoch": [1.0, 2.0], "loss": [0.9, 0.5], "val_loss": [1.0, 0.7]}
    assert [figure.axes[0].get_ylabel() for figure in charts.panels(series).values()] == ["loss"]
    assert list(charts.panels({"c": [0.1, 1.0], "cv_log_loss": [0.7, 0.3]})) == ["cv_log_loss"]
    assert charts.panels({}) == {}


def test_reliability_leaves_empty_bins_out() -> None:
    labels, probabilities = np.array([0, 1]), np.array([[0.9, 0.1], [0.9, 0.1]])
    bins = reliability(Predictions(np.array(["a", "b"]), labels, probabilities), 10)
    above, below = charts.reliability(bins).axes
    assert [line.get_xydata().tolist() for line in above.lines] == [[[0, 0], [1, 1]], [[0.9, 0.5]]]
    assert [bar.get_height() for bar in below.patches if isinstance(bar, Rectangle)] == [0] * 9 + [2]


def test_a_grid_search_shows_its_loss_over_the_values_tried() -> None:
    (axes,) = charts.history({"c": [0.1, 1.0], "cv_log_loss": [0.7, 0.3]}).axes
    assert axes.get_xscale() == "log"
    assert axes.lines[0].get_xdata().tolist() == [0.1, 1.0]


def test_confusion_writes_counts_and_class_names() -> None:
    figure = charts.confusion(np.array([[3, 1], [0, 0]]), ["Gänse", "red fox"], "test split")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["3", "1", "0", "0"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Gänse", "red fox"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "actual")
    # A class without images has no shares, rather than NaN.
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0.0, 0.0]]
    assert render(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(("classes", "numbers"), [(20, 400), (21, 0)])
def test_numbers_are_left_out_where_they_could_not_be_read(classes: int, numbers: int) -> None:
    figure = charts.confusion(np.eye(classes, dtype=np.int64), [str(n) for n in range(classes)], "")
    assert len(figure.axes[0].texts) == numbers


@pytest.mark.parametrize(("classes", "named"), [(40, 40), (41, 0), (1000, 0)])
def test_names_and_size_of_a_confusion_matrix_are_bounded(classes: int, named: int) -> None:
    figure = charts.confusion(np.eye(classes, dtype=np.int64), [str(n) for n in range(classes)], "")
    assert len(figure.axes[0].get_xticklabels()) == named
    assert max(figure.get_size_inches()) < 20


def test_beyond_the_bound_confusions_are_a_table_and_no_figure() -> None:
    log = Recorder()
    count = results.MATRIX_CLASSES + 1
    labels = np.arange(count)
    probabilities = np.roll(np.eye(count, dtype=np.float32), 1, axis=1)
    predictions = Predictions(labels.astype(np.str_), labels, probabilities)
    results.log_results(log, "net", predictions, [f"c{n}" for n in range(count)], None)
    assert set(log.files) == {"confusions/net.csv", "per_class/net.csv", "reliability_net.png"}
    lines = log.files["confusions/net.csv"].splitlines()
    assert lines[:2] == ["actual,predicted,images", "c0,c1,1"]
    assert len(lines) == 1 + results.CONFUSIONS


@pytest.mark.filterwarnings("error")
def test_long_names_leave_place_for_the_matrix() -> None:
    names = ["a class with a long name of many words in it", "cat"]
    figure = charts.confusion(np.eye(2, dtype=np.int64), names, "test split")
    render(figure)
    assert figure.axes[0].get_window_extent().width > 0.3 * figure.bbox.width
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [names[0][:29] + "…", "cat"]
