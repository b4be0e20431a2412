"""The cost of a run from ingest to pack when one image in a hundred is new, beside a run from nothing.

The stages run as functions in one process, so starting is in neither figure. Decodes are counted.
"""

import logging
import os
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import harness, images
from benchmarks.harness import Row, Settings
from benchmarks.pipeline import Pipeline
from stages.data import results_store

SIZE = 256
_NEW = 100
_STAGES = ("ingest", "audit", "resize", "mean", "pack")


def measure(settings: Settings) -> list[Row]:
    """Run with 1 % new images and from nothing, in turn."""
    rows = []
    for name, folder in images.sets(settings).items():
        rows += _measure(settings, name, folder, settings.work / f"{name}-change")
    return rows


def _measure(settings: Settings, name: str, source: Path, data: Path) -> list[Row]:
    most = _link_most(source, data / "source")
    changed: list[tuple[float, int]] = []
    from_scratch: list[tuple[float, int]] = []
    with _own_store(data / "results") as store, _decodes() as decodes:
        for _ in range(settings.repeats):
            shutil.rmtree(store, ignore_errors=True)
            _seconds(most, data)
            for figures, fresh in ((changed, False), (from_scratch, True)):
                if fresh:
                    shutil.rmtree(store, ignore_errors=True)
                decodes.clear()
                seconds = _seconds(source, data)
                figures.append((seconds, sum(decodes)))
    measured = zip(
        ("seconds", "decodes"), zip(*changed, strict=True), zip(*from_scratch, strict=True), strict=True
    )
    return [
        Row(
            f"{figure} from ingest to pack, 1 % new of {name} images",
            "s" if figure == "seconds" else "",
            statistics.median(few),
            bound=statistics.median(everything),
        )
        for figure, few, everything in measured
    ]


def _seconds(source: Path, data: Path) -> float:
    pipeline = Pipeline.create(source, data / "ours", SIZE)
    shutil.rmtree(data / "ours" / "data", ignore_errors=True)
    os.sync()
    start = time.perf_counter()
    pipeline.run(*_STAGES)
    return time.perf_counter() - start


@contextmanager
def _own_store(folder: Path) -> Iterator[Path]:
    before = os.environ.get(results_store.FOLDER_VARIABLE)
    os.environ[results_store.FOLDER_VARIABLE] = str(folder)
    try:
        yield folder
    finally:
        del os.environ[results_store.FOLDER_VARIABLE]
        if before is not None:
            os.environ[results_store.FOLDER_VARIABLE] = before


@contextmanager
def _decodes() -> Iterator[list[int]]:
    """Yield a list that gets the number of decodes of each stage that ends."""
    counts: list[int] = []

    class Counter(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            fields: dict[str, Any] = getattr(record, "fields", {})
            counts.append(fields.get("decoded", 0))

    logger, handler = logging.getLogger("convoy"), Counter()
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        yield counts
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _link_most(source: Path, folder: Path) -> Path:
    """All but every hundredth image."""
    paths = sorted(path for path in source.rglob("*") if path.is_file())
    for number, path in enumerate(paths):
        if number % _NEW:
            link = folder / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.absolute())
    return folder


if __name__ == "__main__":
    harness.main(measure)
