"""resize: one size for all, and nothing but the images that ingest saw."""

import h5py
import numpy as np
import pytest
from PIL import Image

from stages.common.errors import SourceError
from stages.data.sources import digits
from tests.project import Images, Project


def resized_images(project: Project) -> np.ndarray:
    with h5py.File(project.resized) as file:
        return file["images"][:]


def test_every_image_has_the_size_and_colours_asked_for(project: Project, images: Images) -> None:
    images()
    project.ingest()
    project.resize(size=[12, 18])
    assert resized_images(project).shape == (20, 12, 18, 3)
    assert resized_images(project).dtype == np.uint8
    project.resize(size=[12, 18], color="gray")
    assert resized_images(project).shape == (20, 12, 18, 1)


def test_images_that_have_the_size_are_taken_as_they_are(project: Project, images: Images) -> None:
    source = images(size=(20, 24))
    project.ingest()
    project.resize(size=[20, 24])
    np.testing.assert_array_equal(
        resized_images(project)[13], np.asarray(Image.open(source / "dog" / "003.png"))
    )


def test_proportions_are_kept_or_not(project: Project, images: Images) -> None:
    source = images()
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 255
    Image.fromarray(pixels).save(source / "cat" / "000.png")
    project.ingest()
    project.resize(size=[20, 20], keep_aspect=True)
    assert resized_images(project)[0].min() == 255
    project.resize(size=[20, 20], keep_aspect=False)
    assert resized_images(project)[0, 10, [1, 10, -2], 0].tolist() == [0, 255, 0]


def test_columns_hold_exact_sums_of_each_image(project: Project, images: Images) -> None:
    images()
    project.ingest()
    project.resize()
    pixels = resized_images(project).astype(np.int64)
    with h5py.File(project.resized) as file:
        np.testing.assert_array_equal(file["sums"], pixels.sum(axis=(1, 2)))
        np.testing.assert_array_equal(file["squares"], (pixels**2).sum(axis=(1, 2)))


def test_images_that_are_no_files_come_from_the_blob(project: Project) -> None:
    project.ingest(digits.Params(kind="digits", path=project.root))
    project.resize(size=[8, 8], color="gray")
    assert resized_images(project).shape == (1797, 8, 8, 1)
    assert len(np.unique(resized_images(project))) == 17


def test_a_image_that_changed_since_ingest_stops_the_stage(project: Project, images: Images) -> None:
    source = images()
    project.ingest()
    Image.new("RGB", (9, 9)).save(source / "cat" / "004.png")
    with pytest.raises(SourceError, match=r"cat/004\.png: .*the source has changed, run ingest again"):
        project.resize()
    assert not project.resized.exists()


def test_a_image_that_is_gone_stops_the_stage(project: Project, images: Images) -> None:
    source = images()
    project.ingest()
    (source / "dog" / "000.png").unlink()
    with pytest.raises(SourceError, match=r"dog/000\.png: .*the source has changed, run ingest again"):
        project.resize()
