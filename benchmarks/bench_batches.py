"""Training batches of 128 random 227² patches of 256² images, in images per second.

Ours are uint8, normalized inside the network; the books' are float32 with the means subtracted. The passes
are whole epochs from the warm page cache; batches are built and dropped, nothing is trained.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from benchmarks import books, bounds, harness, images, peers
from benchmarks.harness import Row, Settings, Ways
from benchmarks.pipeline import Pipeline
from stages.common.limits import cores
from stages.data.augment import Augment
from stages.data.loader import Loader
from stages.data.store import Reader

SIZE, PATCH, BATCH = 256, 227, 128
# An epoch of ours takes a tenth of a second: too short to measure.
_EPOCHS = 5
# 2 GB of float64.
_BOOKS_IMAGES = 1_280
_SHUFFLED = 1_024
# Images a second from FFCV's warm loader on 2 cores, 227² and flips; quoted, not measured here.
_FFCV_LOADER = 14_400.0

_PRESETS = Path("conf/augment")


def measure(settings: Settings) -> list[Row]:
    """Without augmentation, flipped, and with rotation, shift, shear, zoom and flip."""
    # The last set: the quickest to bring to 256².
    name, source = list(images.sets(settings).items())[-1]
    pipeline = Pipeline.ingested(source, settings.work / f"{name}-batches", SIZE)
    pipeline.run("resize", "mean", "pack")
    packed, work = pipeline.packed / "train.h5", settings.work / "batches-books.hdf5"
    records = settings.work / "batches.tfrecord"
    with Reader(packed) as rows:
        _copy(rows, work, records)
        return [
            *_plain(settings, rows, work, records),
            *_augmented(settings, rows, work, records),
        ]


def _plain(settings: Settings, rows: Reader, books_file: Path, records: Path) -> list[Row]:
    pixels = bounds.mapped_pixels(rows.path)
    with _loader(rows) as plain, _loader(rows, _augment("base", horizontal_flip=True)) as flipped:
        ways: Ways = {
            "ours": partial(_epochs, plain),
            "flipped": partial(_epochs, flipped),
            "bound": _repeated(partial(bounds.gather, pixels, PATCH, BATCH)),
            "books": partial(_books, books_file, augmented=False),
            "tf.data": partial(_records, records, rows.shape[1:], augmented=False),
        }
        measured = harness.rates(settings.repeats, ways)
    work, unit = f"batches of {PATCH}² patches", "images/s"
    return [
        Row(f"{work}, no augmentation", unit, measured["ours"], measured["books"], measured["bound"]),
        Row(
            f"{work}, no augmentation vs tf.data (TFRecord)",
            unit,
            measured["ours"],
            bound=measured["tf.data"],
        ),
        Row(f"{work}, flips", unit, measured["flipped"], bound=measured["bound"]),
        Row(f"{work}, flips vs FFCV's loader (quoted)", unit, measured["flipped"], bound=_FFCV_LOADER),
    ]


def _augmented(settings: Settings, rows: Reader, books_file: Path, records: Path) -> list[Row]:
    cached = rows.read(0, cores())
    with _loader(rows, _augment("a3")) as moved:
        ways: Ways = {
            "ours": partial(_epochs, moved),
            "bound": partial(bounds.warp, len(rows), cached, PATCH),
            "books": partial(_books, books_file, augmented=True),
            "keras": partial(_records, records, rows.shape[1:], augmented=True),
        }
        measured = harness.rates(settings.repeats, ways)
    work, unit = f"batches of {PATCH}² patches, rotation, shift, shear, zoom, flip", "images/s"
    return [
        Row(work, unit, measured["ours"], measured["books"], measured["bound"]),
        Row(
            f"{work} vs Keras' layers in tf.data (TFRecord)", unit, measured["ours"], bound=measured["keras"]
        ),
    ]


def _copy(rows: Reader, books_file: Path, records: Path) -> None:
    """Write the same images to the books' file, as many as are measured, and to a TFRecord file."""
    labels = rows.column("labels")
    images = rows.read(0, _BOOKS_IMAGES)
    writer = books.DatasetWriter(books_file, images.shape)
    writer.add(list(images), labels[: len(images)].tolist())
    writer.close()
    peers.write_records(records, rows.read(0, len(rows)), labels)


def _loader(rows: Reader, augment: Augment | None = None) -> Loader:
    return Loader(rows, BATCH, seed=42, augment=augment, patch=(PATCH, PATCH))


def _augment(name: str, **values: Any) -> Augment:
    """A set of conf/augment on top of `base`."""
    for part in (name, "base"):
        read = yaml.safe_load((_PRESETS / f"{part}.yaml").read_text(encoding="utf-8"))
        read.pop("defaults", None)
        values = {**read, **values}
    return Augment.model_validate(values)


def _epochs(loader: Loader) -> int:
    for _ in range(_EPOCHS):
        for number in range(len(loader)):
            loader[number]
        loader.on_epoch_end()
    return _EPOCHS * loader.images


def _repeated(way: Callable[[], int]) -> Callable[[], int]:
    return lambda: sum(way() for _ in range(_EPOCHS))


def _books(path: Path, *, augmented: bool) -> int:
    """The means are of ImageNet's scale: their values do not change the speed."""
    preprocessors = [books.patch(PATCH, PATCH), books.mean_subtraction(125.0, 116.0, 106.0), books.to_array]
    augment = books.augmentation() if augmented else None
    return sum(len(batch) for batch, _ in books.batches(path, BATCH, preprocessors, augment))


def _records(path: Path, shape: tuple[int, ...], *, augmented: bool) -> int:
    batches = peers.record_batches(path, shape, PATCH, BATCH, _SHUFFLED)
    return peers.passes(peers.augmented(batches) if augmented else batches)


if __name__ == "__main__":
    harness.main(measure)
