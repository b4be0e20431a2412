import re
from pathlib import Path

import pytest

from benchmarks import jpeg_copies
from benchmarks.pipeline import Pipeline
from stages import params as typed
from stages.common.errors import ParamsError
from stages.data import store
from stages.models.learners.cnn import Params


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return Pipeline.of_two_classes(tmp_path, 60, 16).packed


def test_a_second_copy_changes_less_than_the_first_and_says_nothing_of_it(
    packed: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    jpeg_copies.copy(packed, first)
    jpeg_copies.copy(first, second)
    with store.Reader(packed / "test.h5") as images, store.Reader(first / "test.h5") as copies:
        assert copies.ids.tolist() == images.ids.tolist()
        assert copies.column("labels").tolist() == images.column("labels").tolist()
        assert (copies.read(0, len(copies)) != images.read(0, len(images))).any()
    (_, of_first), (_, of_second) = jpeg_copies.change(packed, first), jpeg_copies.change(first, second)
    assert float(of_first) + 6 < float(of_second)


@pytest.mark.slow
def test_prints_the_accuracy_on_images_and_copies(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    member = typed.load(Path("params.yaml")).models["lenet"]
    assert isinstance(member, Params)
    train = member.train.model_copy(update={"epochs": 1})
    jpeg_copies.compare("lenet", params=member.model_copy(update={"train": train}), data=packed, seeds=[1, 2])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| first copy against the image | ")
    assert re.match(
        r"lenet, seeds \[1, 2\], 8 test images: accuracy [01]\.\d{4}, on copies [01]\.\d{4}; ", lines[-1]
    )


def test_a_member_without_a_network_is_refused(packed: Path) -> None:
    member = typed.load(Path("params.yaml")).models["hog_logistic"]
    with pytest.raises(ParamsError, match=r"models.hog_logistic is of kind logistic_regression; must be cnn"):
        jpeg_copies.compare("hog_logistic", params=member, data=packed)
