"""What ours is measured against does the work it stands for."""

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from benchmarks import books, bounds, images
from benchmarks.harness import Settings
from benchmarks.pipeline import Pipeline
from stages.common.files import read_json
from stages.data.manifest import SPLITS
from stages.data.store import Reader


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    settings = Settings(data=None, scale=0.002, repeats=1, work=tmp_path)
    ours = Pipeline.ingested(images.small(settings), tmp_path / "ours", 64)
    ours.run("resize", "mean", "pack")
    return ours


def test_the_books_way_gives_nearly_the_same_pixels_and_means(pipeline: Pipeline, tmp_path: Path) -> None:
    rows = pipeline.rows()
    parts = {s: [(pipeline.source / row.path, 0) for row in rows if row.split == s] for s in SPLITS}
    assert books.build(parts, tmp_path, 64) == len(rows) == 20
    ids = [row.id for row in rows if row.split == "train"]
    with h5py.File(tmp_path / "train.hdf5") as books_file, Reader(pipeline.packed / "train.h5") as ours:
        assert books_file["images"].dtype == np.float64
        place = {identity: number for number, identity in enumerate(ours.ids.tolist())}
        same = ours.take([place[identity] for identity in ids])
        # BGR; an image resized and then cut differs from one cut and then resized by a fraction of a pixel.
        assert np.abs(books_file["images"][:][..., ::-1] - same).mean() < 3
    mean, stats = read_json(tmp_path / "mean.json"), read_json(pipeline.root / "data" / "stats.json")
    assert [mean[channel] for channel in "RGB"] == pytest.approx(stats["mean"], abs=1)


def test_the_books_buffer_is_written_in_order(tmp_path: Path) -> None:
    writer = books.DatasetWriter(tmp_path / "some.hdf5", (1_005, 1, 1, 3))
    for number in range(1_005):
        writer.add([np.full((1, 1, 3), number % 256, np.uint8)], [number])
    writer.close()
    with h5py.File(tmp_path / "some.hdf5") as file:
        assert file["labels"][:].tolist() == list(range(1_005))
        assert file["images"][:, 0, 0, 0].tolist() == [number % 256 for number in range(1_005)]


def test_bounds_do_all_the_images_and_leave_opencv_as_it_was(pipeline: Pipeline) -> None:
    threads = cv2.getNumThreads()
    files = [(pipeline.source / row.path).read_bytes() for row in pipeline.rows()]
    pixels = bounds.mapped_pixels(pipeline.packed / "train.h5")
    with Reader(pipeline.packed / "train.h5") as rows:
        assert np.array_equal(pixels, rows.read(0, len(rows)))
    assert bounds.decode(files) == bounds.decode_and_resize(files, 64) == 20
    assert bounds.gather(pixels, 48, 8) == len(pixels)
    assert bounds.warp(30, pixels[:2], 48) == 30
    assert cv2.getNumThreads() == threads


def test_made_images_are_the_same_everywhere_and_as_large_as_they_say(tmp_path: Path) -> None:
    assert np.array_equal(images.image(7, 60, 80), images.image(7, 60, 80))
    settings = Settings(data=None, scale=0.01, repeats=1, work=tmp_path)
    assert max(file.stat().st_size for file in images.small(settings).rglob("*.jpg")) <= 20_000
    sizes = [file.stat().st_size for file in images.large(settings).rglob("*.jpg")]
    assert len(sizes) == 30
    assert min(sizes) > 30_000
