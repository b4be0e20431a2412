"""sync_tracking: upload to MLflow what could not be logged while its server was unreachable."""

import os
from pathlib import Path

from stages import cli, tracking
from stages.common import log

# Where dvc.yaml has the outputs of stages that track.
_OUTPUTS = ("models/*", "reports", "reports/*")


def sync_tracking() -> None:
    """Upload the missing lines of all records in this workspace: those in outputs and those in .tracking.

    Raises:
        TrackingError: When the server refuses a record.
        Unreachable: When the server does not answer, or a record of an ended stage cannot be uploaded yet.
    """
    count = tracking.sync(path for pattern in _OUTPUTS for path in sorted(Path().glob(pattern)))
    if waiting := tracking.write_left():
        raise tracking.Unreachable(
            f"{waiting} records in .tracking, of stages that ended early, cannot be uploaded yet"
        )
    uri = os.environ.get("MLFLOW_TRACKING_URI") or tracking.DEFAULT_URI
    log.event("synced_tracking", server=uri, records=count)


if __name__ == "__main__":
    cli.main(sync_tracking)
