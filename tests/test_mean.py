"""mean: the train split's statistics, against NumPy on the pixels themselves."""

import json

import h5py
import numpy as np
import pytest

from stages.common.errors import StoreError
from tests.project import Images, Project


def test_statistics_are_those_of_the_packed_training_images(packed: Project) -> None:
    with h5py.File(packed.packed / "train.h5") as file:
        pixels = file["images"][:].astype(np.float64)
    stats = json.loads(packed.stats.read_text())
    np.testing.assert_allclose(stats["mean"], pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(stats["std"], pixels.std(axis=(0, 1, 2)), rtol=1e-10)
    assert stats["count"] == pixels[..., 0].size


def test_images_held_out_play_no_role(project: Project, images: Images) -> None:
    images()
    project.ingest()
    project.resize()
    project.mean()
    before = project.stats.read_bytes()
    project.ingest(val_fraction=0.4)
    project.mean()
    assert project.stats.read_bytes() != before
    assert json.loads(project.stats.read_text())["count"] == 8 * 16 * 16


def test_other_images_than_the_manifests_are_refused(project: Project, images: Images) -> None:
    images()
    project.ingest()
    project.resize()
    images({"cow": 10})
    project.ingest()
    with pytest.raises(StoreError, match="other images than the manifest; run resize again"):
        project.mean()
