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
        AddressError: When MLFLOW_TRACKING_URI is no address of a server. No record is touched.
        TrackingError: When the server refuses a record, or a record is damaged; the others are uploaded.
        Unreachable: When the server does not answer, or a record of an ended stage cannot be uploaded yet.
    """
    tracking.check()
    outputs = (path for pattern in _OUTPUTS for path in sorted(Path().glob(pattern)))
    counts = tracking.sync(outputs).plus(tracking.upload_waiting())
    if not counts.unreachable:
        tracking.end_killed_everywhere()
    log.event("synced_tracking", server=redact(tracking.address()), **counts._asdict())
    if counts.unreachable:
        raise tracking.Unreachable(
            f"{counts.unreachable} records in .tracking, of stages that ended early, cannot be uploaded yet"
        )
    if counts.refused or counts.damaged:
        raise tracking.TrackingError(
            f"not uploaded: {counts.refused} records that the server refuses (see the warnings), "
            f"{counts.damaged} that are damaged (remove them: .tracking/*.damaged, or the stage's outputs)"
        )


if __name__ == "__main__":
    cli.main(sync_tracking)
