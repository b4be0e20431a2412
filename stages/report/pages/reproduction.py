"""The reproduction table: the books' figures beside this project's."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean

from stages.common.errors import ConvoyError
from stages.common.files import replace_atomically
from stages.scoring.books import Printed


@dataclass(frozen=True)
class Result:
    """A figure of a run: a line of results/reproduction.csv.

    Attributes:
        recipe: the recipe's name.
        seed: the run's seed.
        of: a member, or `ensemble`.
        metric: a key of reports/metrics.json.
        split: test, or val where the book measures on it.
        value: the metric on that split.
        train: number of images of the train split.
        images: number of images of the split that `value` is of.
        epochs: epochs of the member; None without epochs.
        epoch_seconds: median seconds of an epoch; None without epochs.
        machine: processor or graphics card.
        backend: Keras' backend.
        commit: the code's commit; a plus sign where files differed from it.
    """

    recipe: str
    seed: int
    of: str
    metric: str
    split: str
    value: float
    train: int
    images: int
    epochs: int | None
    epoch_seconds: float | None
    machine: str
    backend: str
    commit: str


def read(path: Path) -> list[Result]:
    """Read the results of a file that `write` wrote; none where there is no file.

    Raises:
        ConvoyError: the file is something else.
    """
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return [_result(row) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise ConvoyError(f"{path} is no file of results: {error!r}") from None


def write(path: Path, results: Iterable[Result]) -> None:
    """Write the results as a sorted table, so that a new result is a new line for git."""
    with replace_atomically(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Result)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            asdict(result)
            for result in sorted(
                results, key=lambda row: (row.recipe, row.seed, row.of, row.metric, row.split)
            )
        )


def merged(old: Iterable[Result], new: Sequence[Result]) -> list[Result]:
    """Merge results: a new run replaces an older run of the same recipe and seed."""
    again = {(result.recipe, result.seed) for result in new}
    return [*(result for result in old if (result.recipe, result.seed) not in again), *new]


def select(results: Iterable[Result], recipe: str, of: str, metric: str, split: str) -> list[Result]:
    """Return the results of one figure, one for each seed."""
    key = recipe, of, metric, split
    return [row for row in results if (row.recipe, row.of, row.metric, row.split) == key]


def passes(printed: Printed, values: Sequence[float]) -> bool:
    """Return whether the mean of `values` is at most the tolerance below the book's, or above it.

    Above counts, as initializers, solvers and batch normalization have improved since 2017.
    """
    return fmean(values) >= printed.value - printed.tolerance - 1e-9


def markdown(
    books: Mapping[str, Sequence[Printed]], results: Sequence[Result], hours: Mapping[str, float]
) -> str:
    """Write the table in Markdown.

    Args:
        books: recipe → the figures that the book prints.
        results: this project's results.
        hours: recipe → how long a run would take; of recipes that have not been run.

    Returns:
        A line for each printed figure.
    """
    header = "recipe", "of", "metric", "book", "ours", "seeds", "train / scored", "epoch", "verdict", "run on"
    rows = []
    for recipe, printed in books.items():
        for number in printed:
            ours = select(results, recipe, number.of, number.metric, number.split)
            metric = f"{number.metric}, {number.split}" if number.split != "test" else number.metric
            rows.append(
                [f"`{recipe}`", number.of, metric, _band(number), *_cells(number, ours, hours.get(recipe))]
            )
    return table(header, rows)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(printed: Printed, ours: Sequence[Result], hours: float | None) -> list[str]:
    if not ours:
        return ["", "", "", "", f"not run; about {hours:.2g} h" if hours else "not run", ""]
    values = [result.value for result in ours]
    spread = f" ± {(max(values) - min(values)) / 2:.4f}" if len(values) > 1 else ""
    seconds = [result.epoch_seconds for result in ours if result.epoch_seconds is not None]
    last = ours[-1]
    return [
        f"{fmean(values):.4f}{spread}",
        ", ".join(str(result.seed) for result in ours),
        f"{last.train:,} / {last.images:,}",
        f"{last.epochs} x {fmean(seconds):.1f} s" if seconds else "",
        "pass" if passes(printed, values) else "fail",
        f"{last.machine}, {last.backend}, {last.commit}",
    ]


def _band(printed: Printed) -> str:
    return f"{printed.value:g} - {printed.tolerance:g}" if printed.tolerance else f"{printed.value:g}"


def _result(row: Mapping[str, str]) -> Result:
    return Result(
        recipe=row["recipe"],
        seed=int(row["seed"]),
        of=row["of"],
        metric=row["metric"],
        split=row["split"],
        value=float(row["value"]),
        train=int(row["train"]),
        images=int(row["images"]),
        epochs=int(row["epochs"]) if row["epochs"] else None,
        epoch_seconds=float(row["epoch_seconds"]) if row["epoch_seconds"] else None,
        machine=row["machine"],
        backend=row["backend"],
        commit=row["commit"],
    )
