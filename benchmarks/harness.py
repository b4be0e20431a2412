"""Measure ways of doing the same work in turn, and show them as a table.

Ways are run alternately, and the median of each is taken, so that other load of the machine affects all of
them equally: ratios hold on a busy machine, rates only on an idle one. The page cache is warm.
"""

import csv
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from stages import cli
from stages.common import log
from stages.common.errors import UsageError
from stages.common.limits import cores
from stages.common.machine import processor

COLUMNS = ("name", "unit", "ours", "books", "bound", "vs_books", "vs_bound")
RESULTS = Path(__file__).with_name("results.csv")
_PACKAGES = ("numpy", "opencv-python-headless", "h5py", "keras")


@dataclass(frozen=True)
class Row:
    """A line of the table; the ratios are quotients, ours over the other.

    For rates more is better, for bytes and memory less. In rows named "… vs PEER" the column `bound` holds
    the peer's figure. None where there is nothing to compare with.
    """

    name: str
    unit: str
    ours: float
    books: float | None = None
    bound: float | None = None

    def cells(self) -> list[str]:
        """The columns as text."""
        return [
            self.name,
            self.unit,
            *map(_text, (self.ours, self.books, self.bound)),
            *(_text(self.ours / other if other else None) for other in (self.books, self.bound)),
        ]


@dataclass(frozen=True)
class Settings:
    """`data` a folder of images or None; `scale` times the full sizes; `work` a folder to write in."""

    data: Path | None
    scale: float
    repeats: int
    work: Path

    def count(self, full: int, least: int = 1) -> int:
        """A full size, scaled."""
        return max(least, round(full * self.scale))


Benchmark = Callable[[Settings], list[Row]]
Ways = Mapping[str, Callable[[], int]]


def rates(repeats: int, ways: Ways, before: Callable[[], None] = os.sync) -> dict[str, float]:
    """Items per second of each way, median of `repeats`; a way does its work and returns how many items.

    `before` runs before each way, untimed: a way is not charged for the unwritten data of the way before it.
    """
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            before()
            start = time.perf_counter()
            items = way()
            samples[name].append(items / (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in samples.items()}


def machine() -> str:
    """The machine and the versions that matter, in one line."""
    model = processor() or platform.machine()
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return f"{model}, {cores()} cores, {_memory()}, Python {platform.python_version()}, {packages}"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table: the first two columns to the left, figures to the right."""
    rule = [":---" if place < 2 else "---:" for place in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def main(*benchmarks: Benchmark, argv: list[str] | None = None) -> None:
    """Run benchmarks from the command line, print the table and write it to results.csv."""

    def measure(
        *, data: Path | None = None, scale: float = 1.0, repeats: int = 5, results: Path = RESULTS
    ) -> None:
        """Measure ways of doing the same work in turn, and show them as a table.

        Args:
            data: A folder of images; without it some are made.
            scale: The share of the full sizes.
            repeats: Take the median of this many.
            results: The CSV file to write.
        """
        if data and not data.is_dir():
            raise UsageError(f"--data: {data} is not a folder")
        with tempfile.TemporaryDirectory(prefix="convoy-bench-") as work:
            settings = Settings(data, scale, repeats, Path(work))
            rows = []
            for benchmark in benchmarks:
                log.event("started_benchmark", name=benchmark.__module__)
                rows += benchmark(settings)
        with results.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *(row.cells() for row in rows)])
        print(f"\n{machine()}\nmedian of {repeats}, warm page cache\n")
        print(markdown(COLUMNS, [row.cells() for row in rows]))

    # The command is named by the module that was started.
    measure.__module__ = "__main__"
    cli.main(measure, argv)


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _memory() -> str:
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return "memory unknown"
    total = int(meminfo.read_text().split(maxsplit=2)[1])
    return f"{total / 2**20:.0f} GiB"
