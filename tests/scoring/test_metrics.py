"""Metrics against values worked out by hand."""

import json
import math

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

from stages.scoring import metrics
from stages.scoring.predictions import LEAST_PROBABILITY, Predictions

# Four rows of three classes: right at 0.6, right at 0.5, wrong at 0.8 (second choice), right at 0.9.
LABELS = np.array([0, 1, 1, 2])
PROBABILITIES = np.array([[0.6, 0.3, 0.1], [0.4, 0.5, 0.1], [0.8, 0.15, 0.05], [0.05, 0.05, 0.9]], np.float32)


def predictions_of(labels: np.ndarray, probabilities: np.ndarray) -> Predictions:
    return Predictions(np.arange(len(labels)).astype(np.str_), labels, probabilities)


PREDICTIONS = predictions_of(LABELS, PROBABILITIES)


def test_scores_are_those_worked_out_by_hand() -> None:
    scores = metrics.score(PREDICTIONS, bins=10)
    assert scores["accuracy"] == 3 / 4
    assert scores["top5_accuracy"] == 1.0
    # Precision 1/2, 1, 1; recall 1, 1/2, 1; F1 2/3, 2/3, 1.
    assert scores["macro_precision"] == pytest.approx(2.5 / 3)
    assert scores["macro_recall"] == pytest.approx(2.5 / 3)
    assert scores["macro_f1"] == pytest.approx(7 / 9)
    assert scores["log_loss"] == pytest.approx(-sum(map(math.log, (0.6, 0.5, 0.15, 0.9))) / 4)
    # Each row in a bin of its own: gaps 0.4, 0.5, 0.8, 0.1.
    assert scores["ece"] == pytest.approx(1.8 / 4)
    assert scores["n"] == 4


def test_scores_are_plain_numbers_that_json_can_hold() -> None:
    scores = metrics.score(PREDICTIONS, bins=15)
    assert {type(value) for value in scores.values()} == {float, int}
    assert json.loads(json.dumps(scores)) == scores


def test_rank_k_is_rank_of_all_where_there_are_fewer_classes() -> None:
    assert PREDICTIONS.top_accuracy(1) == 0.75
    assert PREDICTIONS.top_accuracy(2) == 1.0
    assert PREDICTIONS.top_accuracy(5) == 1.0
    assert (
        metrics.score(predictions_of(np.array([0, 1]), np.array([[0.3, 0.7], [0.2, 0.8]])), 5)[
            "top5_accuracy"
        ]
        == 1.0
    )


def test_rank_5_of_more_classes_leaves_the_sixth_out() -> None:
    falling = np.array([[0.3, 0.25, 0.2, 0.1, 0.08, 0.05, 0.02]])
    assert predictions_of(np.array([4]), falling).top_accuracy(5) == 1.0
    # As sorted: equal probabilities in the order of the classes.
    draw = np.random.default_rng(0)
    tied, label = draw.integers(0, 4, (500, 9)).astype(np.float32), draw.integers(0, 9, 500)
    for k in (1, 3, 9):
        best = np.argsort(-tied, axis=1, kind="stable")[:, :k]
        assert predictions_of(label, tied).top_accuracy(k) == (best == label[:, None]).any(axis=1).mean()
    assert predictions_of(np.array([5]), falling).top_accuracy(5) == 0.0


def test_ranks_are_those_of_table_4_1() -> None:
    """Practitioner Bundle ch. 4: a frog that is the first choice, an automobile that is the second."""
    percent = [
        [0, 0, 2.1, 0.03, 0.01, 0.56, 97.3, 0, 0, 0],
        [1.1, 38.7, 0, 0.5, 0, 0.4, 0.11, 1.4, 2.39, 55.4],
    ]
    predictions = predictions_of(np.array([6, 1]), np.array(percent, np.float32) / 100)
    assert predictions.top_accuracy(1) == 0.5
    assert predictions.top_accuracy(5) == 1.0


def test_the_log_loss_is_that_of_figure_8_6() -> None:
    """Starter Bundle ch. 8: probabilities 0.0006, 0.0601 and 0.9393; the image shows the third class."""
    exponentials = np.exp([-3.44, 1.16, 3.91])
    predictions = predictions_of(np.array([2]), (exponentials / exponentials.sum())[None].astype(np.float32))
    assert metrics.score(predictions, 5)["log_loss"] == pytest.approx(0.0626, abs=5e-5)


def test_equal_probabilities_rank_in_the_order_of_the_classes() -> None:
    level = np.full((3, 3), 1 / 3)
    assert predictions_of(np.array([0, 1, 2]), level).top_accuracy(1) == pytest.approx(1 / 3)


def test_macro_averages_are_over_the_classes_that_have_images() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])
    scores = metrics.score(predictions_of(np.array([0, 1]), probabilities), bins=5)
    assert scores["accuracy"] == 1.0
    assert scores["macro_precision"] == scores["macro_recall"] == scores["macro_f1"] == 1.0


def test_a_class_without_predictions_counts_as_zero_in_macro_averages() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.9, 0.1, 0.0]])
    scores = metrics.score(predictions_of(np.array([0, 1, 2]), probabilities), bins=5)
    assert scores["macro_precision"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert scores["macro_recall"] == pytest.approx(2 / 3)


def test_the_interval_of_an_accuracy_is_wilsons() -> None:
    # Wilson 1927, with z = 1.96: (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).
    assert metrics.interval(0.9, 100) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    low, high = metrics.interval(1.0, 12)
    assert low == pytest.approx(0.7575, abs=1e-4)
    assert high == 1.0


def test_the_surest_errors_come_first_and_right_rows_never() -> None:
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.3, 0.7], [0.99, 0.01]])
    assert metrics.surest_errors(predictions_of(np.array([1, 1, 0, 0]), probabilities), 10) == [1, 2, 0]
    assert metrics.surest_errors(predictions_of(np.array([1, 1, 0, 0]), probabilities), 1) == [1]
    assert metrics.surest_errors(predictions_of(np.array([0, 0, 1, 0]), probabilities), 10) == []


def test_confusion_has_actual_classes_in_rows_and_absent_ones_too() -> None:
    assert metrics.confusion(PREDICTIONS).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert (
        metrics.confusion(predictions_of(np.array([0]), np.array([[0.2, 0.7, 0.1]]))).tolist()
        == [[0, 1, 0]] + [[0] * 3] * 2
    )


def test_the_report_names_every_class() -> None:
    text = metrics.classification_report(PREDICTIONS, ["red fox", "Gänse", "cat"])
    rows = {
        line.rsplit(maxsplit=4)[0].strip(): line.split()[-4:] for line in text.splitlines() if line.strip()
    }
    assert rows["red fox"] == ["0.5000", "1.0000", "0.6667", "1"]
    assert rows["Gänse"] == ["1.0000", "0.5000", "0.6667", "2"]


def test_the_averages_of_the_report_are_those_of_the_scores() -> None:
    """Of a class without images, too."""
    predictions = predictions_of(
        np.array([0, 0, 1]), np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]])
    )
    scores = metrics.score(predictions, bins=10)
    last = metrics.classification_report(predictions, ["cat", "dog", "panda"]).splitlines()[-3:]
    assert [line.split() for line in last[:2]] == [
        ["accuracy", f"{scores['accuracy']:.4f}", "3"],
        ["macro", "avg", *(f"{scores[f'macro_{name}']:.4f}" for name in ("precision", "recall", "f1")), "3"],
    ]
    _, *expected = precision_recall_fscore_support([0, 0, 1], [0, 1, 1], average="weighted")
    assert last[2].split()[3:5] == [f"{value:.4f}" for value in expected[:2]]


def test_the_log_loss_of_a_certain_mistake_is_the_stated_clip() -> None:
    certain = predictions_of(np.array([1]), np.array([[1.0, 0.0]], np.float32))
    assert metrics.score(certain, 5)["log_loss"] == pytest.approx(-math.log(LEAST_PROBABILITY))


def test_one_model_has_one_log_loss_everywhere() -> None:
    """metrics.json, the promotion, the ensemble's weights and the history once had three."""
    from stages.models.learners._incremental import _sums

    draw = np.random.default_rng(0)
    probabilities = draw.dirichlet(np.ones(3), 750).astype(np.float32)
    labels = draw.integers(0, 3, 750)
    probabilities[np.arange(40), labels[:40]] = 0.0
    predictions = predictions_of(labels, probabilities)
    exact = probabilities.astype(np.float64)
    reference = log_loss(labels, exact / exact.sum(axis=1, keepdims=True), labels=[0, 1, 2])
    scores = metrics.score(predictions, 15)
    assert scores["log_loss"] == pytest.approx(reference, rel=1e-3)
    assert scores["log_loss"] == predictions.losses.mean()
    assert _sums(probabilities, labels)[0] / 750 == pytest.approx(scores["log_loss"])


@pytest.mark.parametrize("seed", range(20))
def test_figures_of_classes_have_the_bits_of_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images, classes = int(rng.integers(1, 200)), int(rng.integers(2, 30))
    labels = rng.integers(0, classes, images)
    predictions = predictions_of(labels, rng.dirichlet(np.ones(classes), images).astype(np.float32))
    expected = precision_recall_fscore_support(
        labels, predictions.predicted, labels=np.arange(classes), zero_division=0
    )
    of_class = metrics.per_class(predictions)
    for figures, value in zip(
        (of_class.precision, of_class.recall, of_class.f1, of_class.support), expected, strict=True
    ):
        np.testing.assert_array_equal(figures, value)
    np.testing.assert_array_equal(
        metrics.confusion(predictions),
        confusion_matrix(labels, predictions.predicted, labels=np.arange(classes)),
    )


@pytest.mark.parametrize("n", [1, 2, 7, 40, 1000])
def test_the_interval_is_that_of_scipys_wilson(n: int) -> None:
    for hits in range(n + 1):
        bounds = binomtest(hits, n).proportion_ci(confidence_level=0.95, method="wilson")
        assert metrics.interval(hits / n, n) == pytest.approx((bounds.low, bounds.high), abs=1e-12)
