"""Two trained members: a network that sees patches, and a classifier on features."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.data.manifest import Manifest
from stages.data.store import Reader
from stages.models.learners import cnn, logistic_regression
from stages.train import train
from tests.paths import ROOT
from tests.project import Project

MODELS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["models"]


@pytest.fixture(scope="module")
def members(tracked: Path, packed: Any, features: Path) -> dict[str, Path]:
    """Their folders; the packed images are 16x16 RGB, the patches 12x12."""
    folders = {name: tracked / "models" / name for name in ("patchy", "logistic")}
    network = {"network": "shallownet", "code": "stages/models/networks/shallownet.py", "patch": [12, 12]}
    network["train"] = MODELS["lenet"]["train"] | {"epochs": 2, "batch_size": 8}
    patchy = cnn.Params.model_validate(MODELS["lenet"] | network)
    train("patchy", params=patchy, recipe="tiny", data=packed.packed, model=folders["patchy"])
    logistic = logistic_regression.Params.model_validate(
        MODELS["hog_logistic"] | {"input": "features/pixels", "c": [1.0]}
    )
    train("logistic", params=logistic, recipe="tiny", data=features, model=folders["logistic"])
    return folders


@pytest.fixture(scope="session")
def test_images(packed: Project) -> list[Path]:
    """The files of the test split, in packed order."""
    return files_of(packed)


def files_of(project: Project) -> list[Path]:
    """The files of a project's test split, in packed order."""
    rows = {row.id: row for row in Manifest.read(project.manifest).rows()}
    with Reader(project.packed / "test.h5") as test:
        return [project.source / rows[identity].path for identity in test.ids.tolist()]
