"""What is left of a class to train on, counted before an image is decoded."""

from collections import Counter
from pathlib import Path

import pytest

from stages import params
from stages.common.errors import LearnerError, SourceError
from stages.data import layout, splitting
from stages.data.sources import folder
from stages.data.store import Reader
from stages.models.learners import logistic_regression
from stages.tools.running import checking
from tests.paths import ROOT
from tests.project import Project, write_images


@pytest.mark.parametrize("shares", [(0.15, 0.15, 0.0), (0.15, 0.15, 0.1), (0.4, 0.5, 0.0)])
def test_as_many_images_are_left_for_train_as_the_split_leaves(shares: tuple[float, float, float]) -> None:
    val, test, train_val = shares
    cut = splitting.shares_to_cut(val, test, train_val, named=())
    numbers = range(len(cut) + 1, 60)
    labels = {f"{number} {image}": str(number) for number in numbers for image in range(number)}
    splits = splitting.assign(labels, val, test, seed=1, train_val_fraction=train_val)
    training = Counter(label for image, label in labels.items() if splits[image] == "train")
    assert {number: splitting.images_left(number, cut) for number in numbers} == {
        number: training[str(number)] for number in numbers
    }


def test_a_split_that_the_source_names_is_not_cut_out_of_train() -> None:
    assert splitting.images_left(4, splitting.shares_to_cut(0.15, 0.15, 0.0, named={"train"})) == 2
    assert splitting.images_left(4, splitting.shares_to_cut(0.15, 0.15, 0.0, named={"train", "test"})) == 3
    assert splitting.images_left(4, splitting.shares_to_cut(0.15, 0.15, 0.0, named={"val", "test"})) == 4
    assert splitting.images_left(2, splitting.shares_to_cut(0.15, 0.15, 0.0, named=())) == 0


def test_what_is_refused_would_fail_in_train_and_one_image_more_trains(tmp_path: Path) -> None:
    """By the params of a recipe, with images as they are split and packed."""
    committed = params.load(ROOT / "params.yaml")
    logistic = committed.models["hog_logistic"].model_copy(update={"input": "data/packed"})
    assert isinstance(logistic, logistic_regression.Params)

    def check_and_train(dogs: int) -> list[type[Exception]]:
        project = Project(
            tmp_path / str(dogs), write_images(tmp_path / f"{dogs} dogs", {"cat": 9, "dog": dogs})
        )
        source = folder.Params(kind="folder", path=project.source)
        ingest = committed.ingest.model_copy(update={"source": source})
        project.ingest(**ingest.model_dump(exclude={"source"}))
        project.resize()
        project.mean()
        project.pack()
        errors: list[type[Exception]] = []
        try:
            checking.check_folds(committed.model_copy(update={"ingest": ingest}), layout.count(source))
        except SourceError as error:
            errors.append(type(error))
        with Reader(project.packed / "train.h5") as train, Reader(project.packed / "val.h5") as val:
            try:
                logistic_regression.create(logistic).fit(train, val, lambda *_: None)
            except LearnerError as error:
                errors.append(type(error))
        return errors

    assert check_and_train(4) == [SourceError, LearnerError]
    assert check_and_train(5) == []
