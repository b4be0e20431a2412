"""Predictions as lines, CSV, JSON and Kaggle's submissions, on the standard output."""

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Format = Literal["text", "csv", "json", "submission"]


@dataclass(frozen=True)
class Answers:
    """What a model predicts for files.

    Attributes:
        paths: The files (N).
        classes: The names of the classes (K).
        probabilities: (N, K).
        top: How many classes of each file are printed.
    """

    paths: Sequence[Path]
    classes: Sequence[str]
    probabilities: NDArray[np.float32]
    top: int

    def ranked(self) -> dict[Path, list[tuple[str, float]]]:
        """File → the most probable classes with their probabilities, best first."""
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, : self.top]
        return {
            path: [(self.classes[place], float(row[place])) for place in best]
            for path, row, best in zip(self.paths, self.probabilities, order, strict=True)
        }

    def rows(self) -> list[dict[str, Any]]:
        """A row per file and rank."""
        return [
            {"path": str(path), "rank": rank, "label": label, "probability": probability}
            for path, best in self.ranked().items()
            for rank, (label, probability) in enumerate(best, start=1)
        ]

    def submission(self) -> list[dict[str, Any]]:
        """A row per file under Kaggle's columns.

        The `id` is the file's name without its suffix. Of two classes, `label` is the probability of the
        second in alphabetical order, as for Dogs vs. Cats (Practitioner Bundle ch. 9); of more, the most
        probable class.
        """
        if len(self.classes) == 2:
            labels: list[Any] = self.probabilities[:, 1].tolist()
        else:
            labels = [self.classes[best] for best in self.probabilities.argmax(axis=1)]
        return [{"id": path.stem, "label": label} for path, label in zip(self.paths, labels, strict=True)]


def show(answers: Answers, output: Format) -> None:
    """Print predictions in a format."""
    _PRINT[output](answers)


def _text(answers: Answers) -> None:
    for path, best in answers.ranked().items():
        print(f"{path}: " + ", ".join(f"{label} {probability:.4f}" for label, probability in best))


def _json(answers: Answers) -> None:
    print(json.dumps(answers.rows(), indent=2, ensure_ascii=False))


def _csv(rows: Sequence[Mapping[str, Any]]) -> None:
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


_PRINT: dict[Format, Callable[[Answers], None]] = {
    "text": _text,
    "csv": lambda answers: _csv(answers.rows()),
    "json": _json,
    "submission": lambda answers: _csv(answers.submission()),
}
