"""Measure ways of doing the same work in turn, and show them as a table.

Ways are run alternately, and the median of each is taken, so that other load of the machine affects all of
them equally: ratios hold on a busy machine, rates only on an idle one. The page cache is warm.
"""

import argparse
import csv
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from stages.common.errors import ConvoyError
from stages.common.limits import cores

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
    model = platform.processor() or platform.machine()
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(": ")[2] if names else model
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return f"{model}, {cores()} cores, {_memory()}, Python {platform.python_version()}, {packages}"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table: the first two columns to the left, figures to the right."""
    rule = [":---" if place < 2 else "---:" for place in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def main(*benchmarks: Benchmark, argv: Sequence[str] | None = None) -> None:
    """Run benchmarks from the command line, print the table and write it to results.csv.

    Exits with one line when the images cannot be used.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {_caller()}", description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder of images; default: make some")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full sizes")
    parser.add_argument("--repeats", type=int, default=5, help="take the median of this many")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    if options.data and not options.data.is_dir():
        parser.error(f"--data: {options.data} is not a folder")
    with tempfile.TemporaryDirectory(prefix="convoy-bench-") as work:
        settings = Settings(options.data, options.scale, options.repeats, Path(work))
        rows = []
        for benchmark in benchmarks:
            print(f"running {benchmark.__module__}", file=sys.stderr)
            try:
                rows += benchmark(settings)
            except ConvoyError as error:
                sys.exit(f"{benchmark.__module__}: {error}")
    with options.results.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *(row.cells() for row in rows)])
    print(f"\n{machine()}\nmedian of {options.repeats}, warm page cache\n")
    print(markdown(COLUMNS, [row.cells() for row in rows]))


def _caller() -> str:
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else "benchmarks"


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
