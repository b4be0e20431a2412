"""Adding one image costs one decode, and the result is that of a run from scratch."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from stages.data import decoding
from tests.conftest import Images, Project


def resize(project: Project, caplog: pytest.LogCaptureFixture, **params: Any) -> int:
    """Run ingest and resize; returns how many images were decoded."""
    caplog.clear()
    with caplog.at_level("INFO"):
        project.ingest()
        project.resize(**params)
    return int(next(vars(r)["fields"]["decoded"] for r in caplog.records if r.getMessage() == "resized"))


def from_scratch(project: Project, caplog: pytest.LogCaptureFixture) -> bytes:
    elsewhere = Project(project.root / "scratch", project.source)
    resize(elsewhere, caplog)
    return elsewhere.resized.read_bytes()


def test_only_new_and_changed_images_are_decoded(
    images: Images, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    source = images({"cat": 60, "dog": 60})
    assert resize(project, caplog) == 120
    assert resize(project, caplog) == 0
    images({"cat": 61}, root=source)
    assert resize(project, caplog) == 1
    (source / "dog" / "000.png").unlink()
    shutil.copy(source / "cat" / "000.png", project.root / "kept.png")
    images({"dog": 1}, root=project.root / "other", seed=9)
    shutil.copy(project.root / "other" / "dog" / "000.png", source / "dog" / "001.png")
    assert resize(project, caplog) == 1
    assert project.resized.read_bytes() == from_scratch(project, caplog)


def test_reuse_survives_that_dvc_removes_outputs_first(
    images: Images, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    images()
    resize(project, caplog)
    project.resized.unlink()
    assert resize(project, caplog) == 0


def test_other_params_decode_everything(
    images: Images, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    images({"cat": 5, "dog": 5})
    resize(project, caplog)
    assert resize(project, caplog, size=[8, 8]) == 10
    assert resize(project, caplog, size=[8, 8], keep_aspect=False) == 10


def test_other_decoding_code_decodes_everything(
    images: Images,
    project: Project,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    images({"cat": 5, "dog": 5})
    resize(project, caplog)
    edited = tmp_path / "decoding.py"
    edited.write_text(Path(decoding.__file__).read_text() + "\n")
    monkeypatch.setattr(decoding, "__file__", str(edited))
    assert resize(project, caplog) == 10


def test_a_damaged_image_is_decoded_again(
    images: Images, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    images({"cat": 5, "dog": 5})
    resize(project, caplog)
    good = project.resized.read_bytes()
    kept = next(project.resized.parent.glob(".resized.h5.last"))
    data = bytearray(good)
    # The pixels stand at the end of the first part; a run of them is surely inside.
    data[len(data) // 2] ^= 1
    kept.unlink()
    kept.write_bytes(data)
    resize(project, caplog)
    assert project.resized.read_bytes() == good
