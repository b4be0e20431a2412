"""Time and memory that fitting a member takes, over all attempts at it, and the device."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stages.common import machine
from stages.common.errors import ConvoyError
from stages.common.files import read_json, write_json
from stages.common.history import OnEpoch
from stages.tracking.run import Run

_FILE = "cost.json"


@contextmanager
def measured(run: Run, attempt: Path, resumable: bool) -> Iterator[OnEpoch]:
    """Log the time and memory that fitting takes, and the device.

    They are on disk after each epoch: a kill gives no notice.

    Args:
        run: The MLflow run of the training.
        attempt: The folder of the training's checkpoints.
        resumable: The training goes on from its checkpoints; earlier attempts at it count, too.

    Yields:
        What `fit` calls after each epoch; it also logs the epoch.
    """
    earlier = _earlier(attempt / _FILE) if resumable else {}
    started = time.monotonic()

    def keep() -> dict[str, float]:
        cost = {
            "fit_seconds": earlier.get("fit_seconds", 0.0) + time.monotonic() - started,
            "fit_peak_memory_mib": max(earlier.get("fit_peak_memory_mib", 0.0), machine.peak_memory()),
        }
        write_json(attempt / _FILE, cost)
        return cost

    def on_epoch(number: int, values: Mapping[str, float]) -> None:
        run.epoch(number, values)
        keep()

    try:
        yield on_epoch
    except ConvoyError:
        # SIGTERM, for one, in the midst of an epoch.
        keep()
        raise
    run.metrics(keep())
    run.tags({"device": machine.device()})


def _earlier(path: Path) -> dict[str, float]:
    """The cost of earlier attempts; empty where there were none, or a power cut has left no JSON."""
    try:
        return dict(read_json(path))
    except (FileNotFoundError, ValueError):
        return {}
