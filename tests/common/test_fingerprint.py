"""Which files a result follows from, and that every user of the answer gets the same one."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import params, train
from stages.common import fingerprint
from stages.common.files import write_json
from stages.data import store
from stages.serving import bundle
from tests.paths import ROOT

LENET: dict[str, fingerprint.Choice] = {
    "stages.models.learners": ("cnn",),
    "stages.models.networks": ("lenet",),
}
KNN: dict[str, fingerprint.Choice] = {"stages.models.learners": ("knn",)}


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that appends a comment to a file of a copy of the code, which then counts as the code."""
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)

    def edit(path: str) -> None:
        with (tmp_path / path).open("a", encoding="utf-8") as file:
            file.write("\n# Edited.\n")

    return edit


@pytest.mark.parametrize(
    ("module", "choices", "path", "expected"),
    [
        ("train", LENET, "models/networks/_layers.py", True),
        ("train", LENET, "models/learners/cnn.py", True),
        ("train", LENET, "data/loader.py", True),
        ("train", LENET, "data/augment/geometry.py", True),
        ("train", LENET, "models/networks/lenet.py", True),
        ("train", LENET, "models/networks/resnet.py", False),
        ("train", LENET, "scoring/diagnosis.py", False),
        ("train", LENET, "report/figures/charts.py", False),
        ("train", KNN, "models/training/loop.py", False),
        ("evaluate", {}, "scoring/diagnosis.py", True),
        ("evaluate", {}, "scoring/significance.py", False),
        ("evaluate", {}, "report/templates/compare.html.j2", False),
        ("promote", {}, "report/templates/promotion.html.j2", True),
        ("promote", {}, "report/templates/base.html.j2", True),
        ("promote", {}, "serving/judge.py", True),
        ("ingest", {}, "data/manifest.py", True),
        ("ingest", {}, "data/blobs.py", True),
        ("pack", {}, "data/store.py", True),
        ("resize", {}, "data/statistics.py", True),
        ("resize", {}, "cli.py", False),
        ("resize", {}, "common/log.py", False),
        # An annotation alone.
        ("data.sources", {}, "data/manifest.py", False),
    ],
)
def test_a_result_follows_from_what_its_module_imports(
    module: str, choices: dict[str, fingerprint.Choice], path: str, expected: bool
) -> None:
    assert (f"stages/{path}" in fingerprint.files(f"stages.{module}", choices)) is expected


def test_a_plug_in_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"stages/models/learners/nothing\.py"):
        fingerprint.files("stages.train", {"stages.models.learners": ("nothing",)})


@pytest.mark.parametrize(
    ("path", "matters"),
    [
        ("stages/models/networks/_layers.py", True),
        ("stages/models/learners/cnn.py", True),
        ("stages/data/loader.py", True),
        ("stages/data/augment/__init__.py", True),
        ("stages/models/networks/lenet.py", True),
        ("stages/models/networks/resnet.py", False),
        ("stages/common/log.py", False),
    ],
)
def test_a_training_resumes_with_the_same_code_only(
    packed: Any, edited: Any, path: str, matters: bool
) -> None:
    lenet = params.load(ROOT / "params.yaml").models["lenet"]
    with store.Reader(packed.packed / "train.h5") as rows:
        before = train._identity(lenet, rows)
        edited(path)
        assert (train._identity(lenet, rows) != before) is matters


def test_a_served_model_is_another_with_other_code_that_it_runs(tmp_path: Path, edited: Any) -> None:
    spec = {"kind": "knn", "provenance": {"extractor": {"name": "hog", "kind": "hog"}}}
    write_json(tmp_path / "bundle" / "members" / "near" / "spec.json", spec)
    digests = [bundle.digest(tmp_path / "bundle")]
    for path in ("stages/models/extractors/hog.py", "stages/serving/classifier.py", "stages/data/sizing.py"):
        edited(path)
        digests.append(bundle.digest(tmp_path / "bundle"))
    assert len(set(digests)) == 4
    for path in ("stages/tools/compare.py", "stages/models/learners/sgd.py", "stages/report/pages/data.py"):
        edited(path)
    assert bundle.digest(tmp_path / "bundle") == digests[-1]


def test_the_name_of_a_recipe_trains_nothing() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert "recipe" not in stages["train"]["do"]["params"]
    assert "recipe" in stages["promote"]["params"]
