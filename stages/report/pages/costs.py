"""What recipes without a result would cost: results/costs.csv, which benchmarks/recipe_costs.py writes."""

import csv
from collections.abc import Mapping
from pathlib import Path

from stages.common.errors import ConvoyError
from stages.common.files import replace_atomically

_RECIPE, _HOURS = "recipe", "hours"


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


def write(path: Path, hours: Mapping[str, float]) -> None:
    """Write the estimated hours of recipes, sorted by name, to two significant digits.

    Args:
        path: The file.
        hours: Recipe → hours.
    """
    with replace_atomically(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([_RECIPE, _HOURS])
        writer.writerows([name, f"{cost:.2g}"] for name, cost in sorted(hours.items()))
