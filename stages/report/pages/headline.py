"""The top of a run's page: is the model good, where is it wrong, what to do next."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stages.data.manifest import Manifest

# So many classes and next steps are named; the sections below have all.
CLASSES_NAMED = 3
_STEPS = 6
# A class is weak when its F1 is this much below the mean.
_WEAK = 0.05
_BALANCED = "balanced"


def baseline(manifest: Manifest) -> dict[str, Any]:
    """The accuracy on the test split of a classifier that always names the same class.

    Returns:
        `label`, the most frequent class of the test split, and `share`, its part of the images, 0 to 1.
    """
    labels = manifest.strings("label")[manifest.strings("split") == "test"]
    label, count = Counter(labels.tolist()).most_common(1)[0]
    return {"label": label, "share": count / len(labels)}


def next_steps(
    diagnoses: Mapping[str, Sequence[Mapping[str, str]]],
    per_class: Sequence[Mapping[str, Any]],
    macro_f1: float,
    drift: str,
    wrong: int,
) -> list[dict[str, str]]:
    """List what to try next, the most urgent first.

    Args:
        diagnoses: member → its findings, as reports/diagnosis.json has them.
        per_class: figures of the classes with the lowest F1, the lowest first.
        macro_f1: the mean F1 of all classes that have test images.
        drift: the drift check's verdict.
        wrong: number of errors on the test split.

    Returns:
        At most six steps, each with a `reason` and an `advice`.
    """
    steps = []
    if drift != "pass":
        steps.append(
            {"reason": "The data drifted from the reference profile", "advice": "look at data.html first"}
        )
    findings = [(member, finding) for member, rows in diagnoses.items() for finding in rows]
    steps += [
        {"reason": f"{member}: {finding['name']}", "advice": finding["advice"]}
        for member, finding in findings
        if finding["name"] != _BALANCED
    ]
    weak = [row["name"] for row in per_class[:CLASSES_NAMED] if row["f1"] < macro_f1 - _WEAK]
    if weak:
        steps.append(
            {
                "reason": f"Weakest classes: {', '.join(weak)}",
                "advice": "look at their errors; collect more images of them, or correct labels",
            }
        )
    if wrong and not weak:
        steps.append(
            {
                "reason": f"{wrong:,} {'error' if wrong == 1 else 'errors'}, no class with many",
                "advice": "look at the most confident ones",
            }
        )
    if not findings:
        steps.append(
            {
                "reason": "No member is a network",
                "advice": "with some hundred images per class, fine-tune one (conf/model/fine_tuning.yaml)",
            }
        )
    elif all(finding["name"] == _BALANCED for _, finding in findings):
        steps.append(
            {
                "reason": "No finding on the learning curves",
                "advice": "try a longer schedule, or more members in the ensemble",
            }
        )
    return steps[:_STEPS]
