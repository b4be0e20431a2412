"""The reproduction table: what the books print beside what came out here."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean

from stages.common.errors import ConvoyError
from stages.common.files import replace_atomically
from stages.params import Printed


@dataclass(frozen=True)
class Result:
    """One number of one run: a line of the file of results.

    `of` is a member or the ensemble; `value` its metric on the `test` images of the test split, after
    training on `train` images. `epoch_seconds` is empty for what has no epochs.
    """

    recipe: str
    seed: int
    of: str
    metric: str
    value: float
    train: int
    test: int
    epochs: int | None
    epoch_seconds: float | None
    machine: str
    backend: str
    commit: str


def read(path: Path) -> list[Result]:
    """The results of a file that `write` wrote, or none. Raises ConvoyError where it is something else."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return [_result(row) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise ConvoyError(f"{path} is no file of results: {error!r}") from None


def write(path: Path, results: Iterable[Result]) -> None:
    """The results as a table, sorted, so that a new one is one new line for git."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_atomically(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [one.name for one in fields(Result)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            asdict(one) for one in sorted(results, key=lambda one: (one.recipe, one.seed, one.of, one.metric))
        )


def merged(old: Iterable[Result], new: Sequence[Result]) -> list[Result]:
    """All results; a new run takes the place of the former one of the same recipe and seed."""
    again = {(one.recipe, one.seed) for one in new}
    return [*(one for one in old if (one.recipe, one.seed) not in again), *new]


def passes(printed: Printed, values: Sequence[float]) -> bool:
    """Whether the mean of ours is within the band: at most the tolerance below the book, or anywhere above.

    Above counts, as initializers, solvers and batch normalization have improved since 2017.
    """
    return fmean(values) >= printed.value - printed.tolerance - 1e-9


def markdown(books: Mapping[str, Sequence[Printed]], results: Sequence[Result]) -> str:
    """A table with one line per printed number of each recipe; `books` maps recipes to theirs."""
    header = "recipe", "of", "metric", "book", "ours", "seeds", "train / test", "epoch", "verdict", "run on"
    lines = [_line(header), _line(["---"] * len(header))]
    for recipe, printed in books.items():
        for one in printed:
            ours = [r for r in results if (r.recipe, r.of, r.metric) == (recipe, one.of, one.metric)]
            lines.append(_line([f"`{recipe}`", one.of, one.metric, _band(one), *_cells(one, ours)]))
    return "\n".join(lines) + "\n"


def _cells(printed: Printed, ours: Sequence[Result]) -> list[str]:
    if not ours:
        return ["", "", "", "", "not run", ""]
    values = [one.value for one in ours]
    spread = f" ± {(max(values) - min(values)) / 2:.4f}" if len(values) > 1 else ""
    seconds = [one.epoch_seconds for one in ours if one.epoch_seconds is not None]
    last = ours[-1]
    return [
        f"{fmean(values):.4f}{spread}",
        ", ".join(str(one.seed) for one in ours),
        f"{last.train:,} / {last.test:,}",
        f"{last.epochs} x {fmean(seconds):.1f} s" if seconds else "",
        "pass" if passes(printed, values) else "fail",
        f"{last.machine}, {last.backend}, {last.commit}",
    ]


def _band(printed: Printed) -> str:
    return f"{printed.value:g} - {printed.tolerance:g}" if printed.tolerance else f"{printed.value:g}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _result(row: Mapping[str, str]) -> Result:
    return Result(
        recipe=row["recipe"],
        seed=int(row["seed"]),
        of=row["of"],
        metric=row["metric"],
        value=float(row["value"]),
        train=int(row["train"]),
        test=int(row["test"]),
        epochs=int(row["epochs"]) if row["epochs"] else None,
        epoch_seconds=float(row["epoch_seconds"]) if row["epoch_seconds"] else None,
        machine=row["machine"],
        backend=row["backend"],
        commit=row["commit"],
    )
