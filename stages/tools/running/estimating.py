"""How long a run takes: measured by the last run of the recipe, before that estimated."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.common import limits
from stages.common.files import read_json, write_json

_RATES = Path(".convoy/rates.json")
# Where `make plan` and Airflow's tasks have them too (pipelines/worker/timings.py).
_STAGES = Path(".convoy/seconds")
# Seconds on two cores: (what does not depend on the number of images, per 1,000 images).
_ESTIMATES = {"images": (45.0, 40.0), "images_from_scratch": (50.0, 60.0)}
RECIPES = tuple(_ESTIMATES)
_CORES = 2
# Seconds that `_probe` takes on the machine of these figures.
_PROBE = 0.05


@dataclass(frozen=True)
class Estimate:
    """How long a run takes.

    Attributes:
        seconds: Of all stages together.
        measured: Whether the recipe has run on this machine before.
    """

    seconds: float
    measured: bool

    def __str__(self) -> str:
        minutes = max(1, round(self.seconds / 60))
        if self.measured:
            return f"up to {minutes} min, as measured in the last run; less where results are reused"
        return f"about {minutes} min: an estimate, until a run has measured it"


def estimate(recipe: str, images: int) -> Estimate:
    """Estimate the time of a run in which every stage runs.

    Args:
        recipe: `images` or `images_from_scratch`.
        images: How many.
    """
    factor = _read().get(recipe)
    return Estimate(_expected(recipe, images) * (factor or _probe() / _PROBE), factor is not None)


def remember(recipe: str, images: int, seconds: float) -> None:
    """Keep how this machine compares with the estimate's, for the next run of the recipe."""
    write_json(_RATES, _read() | {recipe: round(seconds / _expected(recipe, images), 3)})


def remember_stages(seconds: Mapping[str, float]) -> None:
    """Write how long each stage took; `make plan` says so of those that will run."""
    for stage, duration in seconds.items():
        write_json(_STAGES / f"{stage}.json", round(duration, 1))


def _expected(recipe: str, images: int) -> float:
    start, per_thousand = _ESTIMATES[recipe]
    return start + per_thousand * images / 1000 * _CORES / limits.cores()


def _read() -> dict[str, float]:
    factors: dict[str, float] = read_json(_RATES) if _RATES.exists() else {}
    return factors


def _probe() -> float:
    """The seconds of a fixed piece of work on one core, the quickest of three."""
    values = np.linspace(0, 1, 1_000_000, dtype=np.float32)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        for _ in range(4):
            np.sort(np.sin(values) * values % 0.01)
        seconds.append(time.perf_counter() - started)
    return min(seconds)
