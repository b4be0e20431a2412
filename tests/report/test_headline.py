"""What to do next: the findings in order of urgency, and no advice that contradicts another."""

from typing import Any

from stages.report.pages.headline import next_steps

BALANCED = {"name": "balanced", "figure": "", "advice": "a longer schedule", "source": ""}
VARIANCE = {"name": "high variance", "figure": "", "advice": "more regularization", "source": ""}


def classes(*scores: float) -> list[dict[str, Any]]:
    return [{"name": f"class {number}", "f1": score} for number, score in enumerate(sorted(scores))]


def reasons(*arguments: Any) -> list[str]:
    return [step["reason"] for step in next_steps(*arguments)]


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
