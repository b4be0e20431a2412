"""clean_up: list old runs of MLflow and results of images that nothing needs, or remove them.

`make clean-up` and the DAG `clean_up` run it, after the folders of Airflow's tasks and DVC's cache
(pipelines/worker/clean_up.py).
"""

from contextlib import suppress

from stages import cli
from stages.common.errors import UsageError
from stages.common.redaction import redact
from stages.data import results_store
from stages.tools import _abandoned_runs
from stages.tracking.server import address, connected


def clean_up(*, days: int = 30, remove: bool = False) -> None:
    """Print a line for each kind of leftovers: how many there are, and how many bytes.

    Args:
        days: How old something has to be, at least 1.
        remove: Remove it. Otherwise it is only listed.

    Raises:
        UsageError: `days` is below 1.
        TrackingError: MLflow's server does not answer or refuses.
        ConvoyError: MLflow cannot purge deleted runs.
    """
    if days < 1:
        raise UsageError(f"--days is {days}; must be at least 1")
    before = _abandoned_runs.days_ago(days)
    files = results_store.unused(before)
    _show(
        "files of image results",
        len(files),
        sum(path.stat().st_size for path in files),
        results_store.folder(),
    )
    for path in files if remove else ():
        with suppress(OSError):
            path.unlink()
    if _abandoned_runs.has_store():
        _clean_tracking(days, before, remove=remove)


def _clean_tracking(days: int, before: float, *, remove: bool) -> None:
    where = redact(address())
    with connected() as client:
        abandoned = _abandoned_runs.Abandoned(client, before)
        _show("unfinished runs of MLflow", len(abandoned.runs), None, where)
        if remove:
            abandoned.remove()
    kind = f"runs deleted over {days} days ago"
    if abandoned.needed_but_deleted:
        print(f"{kind}: they stay; registered versions need {', '.join(abandoned.needed_but_deleted)}")
        return
    if (purgeable := _abandoned_runs.deleted(before)) is None:
        print(f"{kind}: the server purges them: mlflow gc --older-than {days}d beside its database")
        return
    runs, size = purgeable
    _show(kind, len(runs), size, where)
    if remove and runs:
        _abandoned_runs.purge(days)


def _show(kind: str, number: int, size: int | None, where: object) -> None:
    disk = "" if size is None else f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
    print(f"{kind:36} {number:6} {disk:>10}  {where}", flush=True)


if __name__ == "__main__":
    cli.main(clean_up)
