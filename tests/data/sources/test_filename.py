"""Files whose name tells the class."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from stages.data.sources import filename, images


def params(root: Path, pattern: str) -> filename.Params:
    return filename.Params(kind="filename", path=root, pattern=pattern)


def test_the_patterns_group_is_the_class(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("cat.1.jpg", "dog.7.jpg", "deep/cat.2.jpg", "other.jpg"):
        (tmp_path / name).touch()
    result = {image.name: image.label for image in images(params(tmp_path, r"^([a-z]+)\.\d"))}
    assert result == {"cat.1.jpg": "cat", "dog.7.jpg": "dog", "deep/cat.2.jpg": "cat", "other.jpg": None}


def test_empty_folders_do_not_matter_where_folders_are_no_classes(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "cat.1.jpg").touch()
    assert [image.label for image in images(params(tmp_path, r"^([a-z]+)\."))] == ["cat"]


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [("([a-z", "not a regular expression"), ("[a-z]+", "exactly one group"), ("(a)(b)", "exactly one group")],
)
def test_a_pattern_that_cannot_tell_a_class_is_refused(tmp_path: Path, pattern: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        params(tmp_path, pattern)
