"""One stage of a run: `dvc repro STAGE` in a clone, and what it came to."""

import json
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import yaml

from pipelines.worker import dvc, timings
from pipelines.worker.clone import cloned
from pipelines.worker.job import FailedError, Job, RefusedError
from pipelines.worker.plan import KNOWN

# Bytes: reports, not data sets.
_LARGEST_KEPT = 50_000_000


def stage(job: Job) -> dict[str, Any]:
    """Bring one stage up to date.

    Raises RefusedError with an error that the stage foresaw, FailedError when it came to another end.

    What it depends on comes from the cache; where the cache lacks it, DVC runs it as well.
    """
    with cloned(job) as root:
        dvc.fetch(root, job)
        started = time.monotonic()
        done = dvc.repro(root, job, job.stage, variables=_variables(job))
        seconds = time.monotonic() - started
        kept = _keep_outputs(root, job) if done.status else ""
        if done.mistake and done.permanent:
            raise RefusedError(f"{done.mistake}{kept}")
        if done.status:
            why = done.mistake or done.error or f"dvc repro {job.stage}: exit status {done.status}"
            raise FailedError(f"{why}{kept}")
        if job.stage not in done.ran:
            return {"outcome": "restored", "reason": KNOWN}
        timings.keep(job.state, job.stage, seconds)
        dvc.push(root, job, *done.ran)
        others = [name for name in done.ran if name != job.stage]
        return {
            "outcome": "ran",
            "reason": f"with {', '.join(others)}, which the cache lacked" if others else "",
            # Of the largest process: the stage, not DVC.
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
            "metrics": _metrics(root, job.stage),
        }


def checkpoints(job: Job) -> Path | None:
    """Where this run's stages keep what a retry resumes from."""
    return job.state / "checkpoints" / job.run if job.state else None


def _keep_outputs(root: Path, job: Job) -> str:
    """Keep what a failed stage wrote, which DVC does not; say where: a report may tell why it stopped."""
    if job.state is None:
        return ""
    folder = job.state / "failed" / job.run / job.stage
    kept = []
    for out in _declared(root, job.stage).get("outs", []):
        template = out if isinstance(out, str) else next(iter(out))
        path = root / template.replace("${key}", job.stage.partition("@")[2])
        if path.is_file() and path.stat().st_size <= _LARGEST_KEPT:
            kept.append(folder / path.relative_to(root))
            kept[-1].parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, kept[-1])
    pages = [path for path in kept if path.suffix == ".html"]
    return f"; see {pages[0] if pages else folder}" if kept else ""


def _declared(root: Path, address: str) -> dict[str, Any]:
    """The stage as dvc.yaml has it, its templates not filled in."""
    name = address.partition("@")[0]
    found: dict[str, Any] = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"][name]
    do: dict[str, Any] = found.get("do", found)
    return do


def _variables(job: Job) -> dict[str, str]:
    """Folders outside of the clone: this run's checkpoints, and the results of images that all runs share."""
    folder = checkpoints(job)
    if folder is None or job.state is None:
        return {}
    return {
        "CONVOY_CHECKPOINTS": str(folder / job.stage),
        "CONVOY_IMAGE_RESULTS": str(job.state / "image_results"),
    }


def _metrics(root: Path, address: str) -> dict[str, Any]:
    """What stands in the JSON files that dvc.yaml lists as the stage's metrics."""
    metrics: dict[str, Any] = {}
    for path in _declared(root, address).get("metrics", []):
        metrics |= json.loads((root / path).read_text(encoding="utf-8"))
    return metrics
