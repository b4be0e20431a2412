"""resize → mean → pack to 256² RGB, in images per second; ingest is not counted.

The bound and tf.data decode whole images and resize them by area, also beside `resize.quality: fast`.
"""

import math
import os
from functools import partial
from pathlib import Path

from benchmarks import books, bounds, harness, images, peers
from benchmarks.harness import Row, Settings, Ways
from benchmarks.pipeline import Pipeline
from stages.common.files import remove
from stages.data.manifest import SPLITS
from stages.data.manifest import Row as Image

SIZE = 256
# 5 GB of float64. More images do not change a rate, but may fill the disk.
_BOOKS_AT_MOST = 3_000
# Images a second on 2 cores with small JPEGs, resized by OpenCV; quoted, not measured here.
_FFCV_WRITER = 2_100.0


def measure(settings: Settings) -> list[Row]:
    """Every set of images: ours, the books', bare decode and resize; tf.data's decode and resize."""
    return [row for name, folder in images.sets(settings).items() for row in _measure(settings, name, folder)]


def _measure(settings: Settings, name: str, source: Path) -> list[Row]:
    exact = Pipeline.ingested(source, settings.work / f"{name}-exact", SIZE)
    fast = Pipeline.ingested(source, settings.work / f"{name}-fast", SIZE, "fast")
    rows = exact.rows()
    paths = [source / row.path for row in rows]
    files = [path.read_bytes() for path in paths]
    books_folder = settings.work / f"{name}-books"

    def clear() -> None:
        """Remove all results: resize reuses earlier ones, and the books' files are large."""
        exact.forget()
        fast.forget()
        remove(books_folder)
        books_folder.mkdir()
        os.sync()

    ways: Ways = {
        "exact": partial(_ours, exact),
        "fast": partial(_ours, fast),
        "bound": partial(bounds.decode_and_resize, files, SIZE),
        "books": partial(books.build, _parts(rows, source), books_folder, SIZE),
        "decode": partial(bounds.decode, files),
        "tf.data": partial(peers.decode_and_resize, paths, SIZE),
    }
    measured = harness.rates(settings.repeats, ways, clear)
    table = []
    for quality in ("exact", "fast"):
        work, rate = f"resize → mean → pack to {SIZE}², {name} images, {quality}", measured[quality]
        table.append(Row(work, "images/s", rate, measured["books"], measured["bound"]))
        table.append(Row(f"{work} vs tf.data (decode, resize)", "images/s", rate, bound=measured["tf.data"]))
        if name == "small":
            table.append(Row(f"{work} vs FFCV's writer (quoted)", "images/s", rate, bound=_FFCV_WRITER))
    return [*table, Row(f"bare decoding, {name} images", "images/s", measured["decode"])]


def _ours(pipeline: Pipeline) -> int:
    pipeline.run("resize", "mean", "pack")
    return pipeline.count()


def _parts(rows: list[Image], source: Path) -> dict[str, list[tuple[Path, int]]]:
    """The same images and splits as ours, or every k-th of them where there are too many."""
    sample = rows[:: math.ceil(len(rows) / _BOOKS_AT_MOST)]
    classes = sorted({row.label for row in sample})
    return {
        split: [(source / row.path, classes.index(row.label)) for row in sample if row.split == split]
        for split in SPLITS
    }


if __name__ == "__main__":
    harness.main(measure)
