"""resize: one size for all, and nothing but the pictures that ingest saw."""

import h5py
import numpy as np
import pytest
from PIL import Image

from stages.data.sources import digits
from stages.errors import SourceError
from tests.conftest import Pictures, Project


def images(project: Project) -> np.ndarray:
    with h5py.File(project.resized) as file:
        return file["images"][:]


def test_every_picture_has_the_size_and_colours_asked_for(project: Project, pictures: Pictures) -> None:
    pictures()
    project.ingest()
    project.resize(size=[12, 18])
    assert images(project).shape == (20, 12, 18, 3)
    assert images(project).dtype == np.uint8
    project.resize(size=[12, 18], color="gray")
    assert images(project).shape == (20, 12, 18, 1)


def test_pictures_that_have_the_size_are_taken_as_they_are(project: Project, pictures: Pictures) -> None:
    source = pictures(size=(20, 24))
    project.ingest()
    project.resize(size=[20, 24])
    np.testing.assert_array_equal(images(project)[13], np.asarray(Image.open(source / "dog" / "003.png")))


def test_proportions_are_kept_or_not(project: Project, pictures: Pictures) -> None:
    source = pictures()
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 255
    Image.fromarray(pixels).save(source / "cat" / "000.png")
    project.ingest()
    project.resize(size=[20, 20], keep_aspect=True)
    assert images(project)[0].min() == 255
    project.resize(size=[20, 20], keep_aspect=False)
    assert images(project)[0, 10, [1, 10, -2], 0].tolist() == [0, 255, 0]


def test_columns_hold_exact_sums_of_each_picture(project: Project, pictures: Pictures) -> None:
    pictures()
    project.ingest()
    project.resize()
    pixels = images(project).astype(np.int64)
    with h5py.File(project.resized) as file:
        np.testing.assert_array_equal(file["sums"], pixels.sum(axis=(1, 2)))
        np.testing.assert_array_equal(file["squares"], (pixels**2).sum(axis=(1, 2)))


def test_pictures_that_are_no_files_come_from_the_blob(project: Project) -> None:
    project.ingest(digits.Params(kind="digits", path=project.root))
    project.resize(size=[8, 8], color="gray")
    assert images(project).shape == (1797, 8, 8, 1)
    assert len(np.unique(images(project))) == 17


def test_a_picture_that_changed_since_ingest_stops_the_stage(project: Project, pictures: Pictures) -> None:
    source = pictures()
    project.ingest()
    Image.new("RGB", (9, 9)).save(source / "cat" / "004.png")
    with pytest.raises(SourceError, match=r"cat/004\.png: .*the source has changed, run ingest again"):
        project.resize()
    assert not project.resized.exists()


def test_a_picture_that_is_gone_stops_the_stage(project: Project, pictures: Pictures) -> None:
    source = pictures()
    project.ingest()
    (source / "dog" / "000.png").unlink()
    with pytest.raises(SourceError, match=r"dog/000\.png: .*the source has changed, run ingest again"):
        project.resize()
