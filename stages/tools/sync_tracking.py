"""sync-tracking: what a server has missed while it was away → the server. No stage: `make sync-tracking`."""

import os
import sys
from pathlib import Path

from stages import tracking
from stages.common import log
from stages.tracking import TrackingError

# Where dvc.yaml lets the stages that track put their outputs.
_OUTPUTS = ("models/*", "reports", "reports/*")


def main() -> None:
    """Write what is missing of all records here; exits with 1 where a server refuses or is away."""
    log.configure("sync-tracking")
    try:
        count = tracking.sync(path for place in _OUTPUTS for path in sorted(Path().glob(place)))
        waiting = tracking.write_left()
    except TrackingError as error:
        log.error(str(error))
        sys.exit(1)
    if waiting:
        log.error(f"{waiting} records of stages that ended early have to wait; see .tracking")
        sys.exit(1)
    uri = os.environ.get("MLFLOW_TRACKING_URI") or tracking.DEFAULT_URI
    log.event("tracking has everything", at=uri, records=count)


if __name__ == "__main__":
    main()
