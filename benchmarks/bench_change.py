"""What a run costs after 1 % of the images are new, next to a run from nothing: seconds of resize.

The column `bound` holds the run from nothing.
"""

import os
import statistics
import time
from pathlib import Path

from benchmarks import harness, images
from benchmarks.bench_data import SIZE
from benchmarks.harness import Row, Settings
from benchmarks.pipeline import Pipeline

_NEW = 100


def measure(settings: Settings) -> list[Row]:
    """One row per set of images; ingest, which reads every file to know it, is not counted."""
    return [
        _measure(settings, name, folder, settings.work / f"{name}-change")
        for name, folder in images.sets(settings).items()
    ]


def _measure(settings: Settings, name: str, source: Path, data: Path) -> Row:
    some = _link_some(source, data / "source")
    changed, whole = [], []
    for _ in range(settings.repeats):
        Pipeline.ingested(some, data / "ours", SIZE).run("resize")
        ours = Pipeline.ingested(source, data / "ours", SIZE)
        changed.append(_seconds(ours))
        ours.forget()
        whole.append(_seconds(ours))
        ours.forget()
    return Row(
        f"resize with 1 % new of {name} images",
        "s",
        statistics.median(changed),
        bound=statistics.median(whole),
    )


def _seconds(pipeline: Pipeline) -> float:
    os.sync()
    start = time.perf_counter()
    pipeline.run("resize")
    return time.perf_counter() - start


def _link_some(source: Path, folder: Path) -> Path:
    """All but every hundredth image."""
    found = sorted(path for path in source.rglob("*") if path.is_file())
    for number, path in enumerate(found):
        if number % _NEW:
            link = folder / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.absolute())
    return folder


if __name__ == "__main__":
    harness.main(measure)
