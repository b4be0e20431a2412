"""MLflow: one run per member and one per evaluation, below one parent run per execution of the pipeline.

A stage writes a record of its run on disk (record.py) and uploads it once, at its end (upload.py); a thread
sends params and epochs meanwhile (live.py). Stages open a run by runs.py and log to what
run.py defines.
"""

from stages.tracking.run import Run
from stages.tracking.runs import LINK, run
from stages.tracking.server import TrackingError, Unreachable, address, connected, export_address, resolve
from stages.tracking.upload import FOLDER, end_killed_everywhere, sync, upload_waiting

__all__ = [
    "FOLDER",
    "LINK",
    "Run",
    "TrackingError",
    "Unreachable",
    "address",
    "connected",
    "end_killed_everywhere",
    "export_address",
    "resolve",
    "run",
    "sync",
    "upload_waiting",
]
