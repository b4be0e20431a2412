"""`make clean-up` and the DAG `clean_up`: list what old runs left, and remove it on request."""

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.worker import dvc_locks, leftovers, locks, old_images, shell, unused_cache
from pipelines.worker.clone import cloned
from pipelines.worker.job import FailedError, Job, RefusedError, read, read_days, state_of
from pipelines.worker.lines import without_login

_DAY = 86_400
# Removes what stages leave elsewhere: runs of MLflow and results of images.
_TOOL = "stages.tools.clean_up"
# Kind -> how many there are, and their bytes.
Counts = dict[str, tuple[int, int]]


def clean_up(job: Job) -> dict[str, Any]:
    """List what is older than the job's days; remove it where the job says so.

    Args:
        job: The task.

    Returns:
        The result: what there was, by kind.

    Raises:
        FailedError: Something could not be removed, or could not be looked at.
    """
    with cloned(job) as root:
        counts = clean_folders_and_cache(job, root)
        _run_tool(job, root)
    verb = "removed" if job.removes else "found"
    # A pod without a volume has no folders, so there may be no counts.
    number = sum(number for number, _ in counts.values())
    size = sum(size for _, size in counts.values())
    return {
        "outcome": "cleaned",
        "reason": f"{verb} {number} leftovers of tasks, {_size(size)}",
        "leftovers": counts,
    }


def clean_folders_and_cache(job: Job, root: Path) -> Counts:
    """Print a line for each kind of leftovers of tasks, and remove them where the job says so.

    Args:
        job: The task.
        root: A clone of the repository.

    Returns:
        The counts.
    """
    before = time.time() - job.days * _DAY
    counts: Counts = {}
    # Until the end, so that no task starts meanwhile.
    with locks.exclusive(job.state) as alone:
        places = (
            [(job.state / folder, kind) for folder, kind in leftovers.FOLDERS.items()] if job.state else []
        )
        if job.work and alone:
            places.append((job.work, "clones of killed tasks"))
        for place, kind in places:
            counts[kind] = _clean_folder(place, kind, before, removes=job.removes)
        if job.state is None:
            print("there is no state folder: clones and DVC's cache stay as they are", flush=True)
        elif not alone:
            print("tasks run: their clones and DVC's cache stay as they are", flush=True)
        elif job.cache is not None and job.cache.is_dir():
            counts["objects of DVC's cache"] = _clean_cache(job, root, job.cache, before)
    return counts


def _clean_folder(place: Path, kind: str, before: float, *, removes: bool) -> tuple[int, int]:
    """Print a line for the old entries of a folder and remove them; raises FailedError for what stays."""
    entries = leftovers.find(place.parent, place.name, before)
    counts = show(kind, len(entries.names), entries.size, str(place))
    if removes and (failures := leftovers.remove(place.parent, place.name, entries.names)):
        raise FailedError("; ".join(failures[:5]))
    return counts


def _clean_cache(job: Job, root: Path, cache: Path, before: float) -> tuple[int, int]:
    # A list keeps nobody from working.
    with dvc_locks.idle(unused_cache.working_tree(job), held=job.removes) as idle:
        if not idle:
            print(f"DVC runs in {job.repository}: its cache stays as it is", flush=True)
            return 0, 0
        needed = unused_cache.needed(job, root, cache, before)
        folder = root.parent / "gc"
        objects = unused_cache.unused(folder, cache, needed)
        size = sum(status.st_size for path in objects if (status := path.lstat()).st_nlink == 1)
        counts = show("objects of DVC's cache", len(objects), size, str(cache))
        print(f"{'':45} kept: all that these name: {needed.says}", flush=True)
        if job.removes and objects:
            unused_cache.remove(folder)
        return counts


def show(kind: str, number: int, size: int, where: str) -> tuple[int, int]:
    """Print a line of the table; returns its figures."""
    print(f"{kind:36} {number:6} {_size(size):>10}  {where}", flush=True)
    return number, size


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _run_tool(job: Job, root: Path) -> None:
    """Run the stages' own clean-up in a checkout; a commit of an earlier version has none."""
    if not root.joinpath(*_TOOL.split(".")).with_suffix(".py").is_file():
        return
    words = [sys.executable, "-m", _TOOL, "--days", str(job.days), *(["--remove"] if job.removes else [])]
    variables = {"CONVOY_IMAGE_RESULTS": str(job.state / "image_results")} if job.state else {}
    if status := shell.stream(words, root, variables, lambda line: print(line, flush=True)):
        raise FailedError(f"{_TOOL}: exit status {status}")


def _clean_images(days: int, *, removes: bool) -> None:
    images = old_images.find(time.time() - days * _DAY)
    if images is None:
        print("no Docker engine is in reach: images stay as they are")
        return
    show("images of earlier builds", len(images), sum(size for _, size in images), "docker image ls")
    if removes and (staying := len(images) - old_images.remove([image for image, _ in images])):
        print(f"{staying} of these images stay: containers use them")


def _jobs(workspace: Path, days: int, *, removes: bool) -> list[Job]:
    """A job for the folders of `make run` and `make airflow`, and one for those of the containers."""
    common = {
        "CONVOY_ACTION": "clean_up",
        "CONVOY_REPOSITORY": str(workspace),
        # The clone of a second clean-up at the same time has another name.
        "CONVOY_RUN": f"clean-up-{os.getpid()}",
        "CONVOY_DAYS": str(days),
        "CONVOY_REMOVE": "1" if removes else "0",
    }
    home = Path(os.environ.get("CONVOY_HOME") or workspace / ".convoy")
    places = [(state_of(workspace), workspace / ".dvc" / "cache")]
    if (home / "state").is_dir():
        places.append((home / "state", home / "cache"))
    return [
        read(
            {**common, "CONVOY_STATE": str(state), "CONVOY_WORK": f"{state}/work", "CONVOY_CACHE": str(cache)}
        )
        for state, cache in places
    ]


def main() -> int:
    """Clean up this workspace; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make clean-up", description=main.__doc__)
    parser.add_argument("--days", default="30", help="how old something has to be")
    parser.add_argument("--remove", action="store_true", help="remove it; otherwise it is only listed")
    options = parser.parse_args()
    try:
        days = read_days(options.days, "DAYS")
        jobs = _jobs(Path.cwd(), days, removes=options.remove)
        age = "older than 1 day" if days == 1 else f"older than {days} days"
        print(f"{age:36} {'number':>6} {'disk':>10}  where")
        for job in jobs:
            with cloned(job) as root:
                clean_folders_and_cache(job, root)
        # `make run` removes those of a training that ends.
        before = time.time() - days * _DAY
        _clean_folder(Path.cwd() / ".checkpoints", "checkpoints of make run", before, removes=options.remove)
        _run_tool(replace(jobs[0], state=None), Path.cwd())
        _clean_images(days, removes=options.remove)
    except (RefusedError, FailedError, OSError) as error:
        print(f"error: {without_login(str(error))}", file=sys.stderr)
        return 1
    if not options.remove:
        print("Nothing was removed. make clean-up YES=1 removes it; DAYS=7 changes the age.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
