"""What recipes without a result would cost: results/costs.csv, which benchmarks/recipe_costs.py writes."""

import csv
from collections.abc import Mapping
from pathlib import Path

from stages.common.errors import ConvoyError
from stages.common.files import replace_atomically

_RECIPE, _HOURS, _TIMES = "recipe", "hours", "times_minivggnet_cifar10"


def read(path: Path) -> dict[str, float]:
    """Read the estimated hours of each recipe on 2 cores; none where there is no file.

    Args:
        path: A file that `write` wrote.

    Returns:
        Recipe → hours.

    Raises:
        ConvoyError: The file is something else.
    """
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        try:
            return {row[_RECIPE]: float(row[_HOURS]) for row in csv.DictReader(file)}
        except (KeyError, TypeError, ValueError) as error:
            raise ConvoyError(f"{path} is no file of costs: {error!r}") from None


def write(path: Path, times: Mapping[str, float], unit: float) -> None:
    """Write what recipes cost, sorted by name.

    Args:
        path: The file.
        times: Recipe → its cost in trainings of `minivggnet_cifar10`.
        unit: Hours of such a training.
    """
    with replace_atomically(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([_RECIPE, _TIMES, _HOURS])
        writer.writerows([name, f"{cost:.3g}", f"{cost * unit:.2g}"] for name, cost in sorted(times.items()))
