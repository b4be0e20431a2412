"""MLflow: one run per member and one per evaluation, below one per execution of the pipeline.

Everything is first written to a record beside the stage's work (record.py), then by a thread (sender.py) to
the server (writer.py), and later by others if the server was away (late.py). What stages use is in runs.py
and opening.py.
"""

from stages.tracking.late import KEPT, sync, write_left
from stages.tracking.opening import LINK, run
from stages.tracking.runs import Run
from stages.tracking.server import DEFAULT_URI, TrackingError, Unreachable, connected, resolve
from stages.tracking.surroundings import device, peak_memory

__all__ = [
    "DEFAULT_URI",
    "KEPT",
    "LINK",
    "Run",
    "TrackingError",
    "Unreachable",
    "connected",
    "device",
    "peak_memory",
    "resolve",
    "run",
    "sync",
    "write_left",
]
