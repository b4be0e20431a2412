"""What to do next: the findings in order of urgency, and no advice that contradicts another."""

from statistics import mean
from typing import Any

import numpy as np

from stages.report.pages import overview
from stages.report.pages.headline import next_steps
from stages.scoring import metrics
from stages.scoring.predictions import Predictions

BALANCED = {"name": "balanced", "figure": "", "advice": "a longer schedule", "source": ""}
VARIANCE = {"name": "high variance", "figure": "", "advice": "more regularization", "source": ""}


def classes(*scores: float) -> list[dict[str, Any]]:
    return [{"name": f"class {number}", "f1": score} for number, score in enumerate(sorted(scores))]


def reasons(diagnoses: Any, per_class: list[dict[str, Any]], drift: str, wrong: int) -> list[str]:
    steps = next_steps(diagnoses, per_class, mean(row["f1"] for row in per_class), drift, wrong)
    return [step["reason"] for step in steps]


def reasons_of(labels: list[int], predicted: list[int], count: int) -> list[str]:
    """As a page has them, of a member that predicts among so many classes."""
    probabilities = np.eye(count, dtype=np.float32)[predicted]
    predictions = Predictions(
        np.array([f"{n:016x}" for n in range(len(labels))]), np.array(labels), probabilities
    )
    per_class = overview.per_class(predictions, [f"class {number}" for number in range(count)])
    macro_f1 = metrics.score(predictions, 10)["macro_f1"]
    wrong = int((~predictions.correct).sum())
    return [step["reason"] for step in next_steps({}, per_class, macro_f1, "pass", wrong)]


def test_drift_comes_before_findings_and_findings_before_weak_classes() -> None:
    lines = reasons({"net": [VARIANCE, BALANCED]}, classes(0.5, 0.9, 0.95), "warn", 7)
    assert lines == [
        "The data drifted from the reference profile",
        "net: high variance",
        "Weakest classes: class 0",
    ]


def test_errors_that_are_spread_over_all_classes_name_no_class() -> None:
    assert reasons({"net": [VARIANCE]}, classes(0.90, 0.91, 0.92), "pass", 1_234) == [
        "net: high variance",
        "1,234 errors, no class with many",
    ]
    assert reasons({}, classes(1.0, 0.99), "pass", 1)[0] == "1 error, no class with many"


def test_a_run_without_findings_says_so() -> None:
    assert reasons({"net": [BALANCED]}, classes(1.0, 1.0), "pass", 0) == ["No finding on the learning curves"]
    assert reasons({}, classes(1.0, 1.0), "pass", 0) == ["No member is a network"]


def test_steps_are_few() -> None:
    assert len(reasons({f"net{n}": [VARIANCE] for n in range(20)}, classes(0.1, 0.9), "stop", 9)) == 6


def test_a_weak_class_is_weak_beside_all_classes_not_beside_those_that_a_page_has_room_for() -> None:
    """200 of 800 classes are taken for each other, which was their mean and thus no finding."""
    labels = list(range(800))
    predicted = [*range(1, 200), 0, *range(200, 800)]
    assert reasons_of(labels, predicted, 800)[0] == "Weakest classes: class 0, class 1, class 2"


def test_a_class_without_test_images_is_not_weak() -> None:
    """An official test split may lack classes."""
    assert reasons_of([0, 0, 1, 1], [0, 0, 1, 1], 3) == ["No member is a network"]
    assert reasons_of([0, 0, 1, 1], [0, 2, 1, 1], 3)[0] == "Weakest classes: class 0"
