"""sync_tracking: upload to MLflow what could not be logged while its server was unreachable."""

from pathlib import Path

from stages import cli, tracking
from stages.common import log
from stages.common.redaction import redact

# Where dvc.yaml has the outputs of stages that track.
_OUTPUTS = ("models/*", "reports", "reports/*")


def sync_tracking() -> None:
    """Upload what is missing of all records of this project: those in outputs and those in .tracking.

    Runs of killed stages of this machine are ended.

    Raises:
        TrackingError: When the server refuses a record.
        Unreachable: When the server does not answer, or a record of an ended stage cannot be uploaded yet.
    """
    count = tracking.sync(path for pattern in _OUTPUTS for path in sorted(Path().glob(pattern)))
    if waiting := tracking.upload_waiting():
        raise tracking.Unreachable(
            f"{waiting} records in .tracking, of stages that ended early, cannot be uploaded yet"
        )
    tracking.end_killed_everywhere()
    log.event("synced_tracking", server=redact(tracking.address()), records=count)


if __name__ == "__main__":
    cli.main(sync_tracking)
