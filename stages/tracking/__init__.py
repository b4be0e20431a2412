"""MLflow: one run per member and one per evaluation, below one parent run per execution of the pipeline.

A stage writes a record of its run on disk (record.py) and uploads it once, at its end (upload.py); a thread
sends params and epochs meanwhile (live.py). What a server missed is uploaded later (missed.py). Stages open a
run by runs.py and log to what run.py defines.
"""

from stages.tracking.missed import Counts, sync, upload_waiting
from stages.tracking.run import Run
from stages.tracking.runs import LINK, run
from stages.tracking.server import (
    AddressError,
    TrackingError,
    Unreachable,
    address,
    check,
    connected,
    export_address,
    resolve,
)
from stages.tracking.upload import FOLDER, end_killed_everywhere

__all__ = [
    "FOLDER",
    "LINK",
    "AddressError",
    "Counts",
    "Run",
    "TrackingError",
    "Unreachable",
    "address",
    "check",
    "connected",
    "end_killed_everywhere",
    "export_address",
    "resolve",
    "run",
    "sync",
    "upload_waiting",
]
