"""Which images were classified rightly survives its file, in the order of ids."""

from pathlib import Path

import numpy as np
import pytest

from stages.common.errors import ConvoyError
from stages.report.pages import answers
from stages.scoring.predictions import Predictions


def predictions(ids: list[str], right: list[bool]) -> Predictions:
    probabilities = np.array([[0.1, 0.9] if answer else [0.9, 0.1] for answer in right], np.float32)
    return Predictions(np.array(ids), np.ones(len(ids), np.int64), probabilities)


def test_answers_survive_their_file_whatever_the_order_of_the_images(tmp_path: Path) -> None:
    first = answers.of_predictions({"net": predictions(["c", "a", "b"], [True, False, True])})
    again = answers.of_predictions({"net": predictions(["a", "b", "c"], [False, True, True])})
    path = answers.file(tmp_path / "answers", "lenet_mnist", 42)
    answers.write(path, {"test": first})
    read = answers.read(path)["test"]
    assert read.images == again.images
    assert read.correct["net"].tolist() == again.correct["net"].tolist() == [False, True, True]


def test_other_images_have_another_digest() -> None:
    first = answers.of_predictions({"net": predictions(["a", "b"], [True, True])})
    second = answers.of_predictions({"net": predictions(["a", "c"], [True, True])})
    assert first.images != second.images


def test_no_file_is_no_answers_and_a_foreign_one_is_refused(tmp_path: Path) -> None:
    assert answers.read(tmp_path / "none.json") == {}
    for number, text in enumerate(
        ['{"test": []}', '{"test": {"images": "a", "count": 9, "correct": {"net": "AA=="}}}', "[]"]
    ):
        path = tmp_path / f"{number}.json"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConvoyError, match=r"is no file of answers: "):
            answers.read(path)
