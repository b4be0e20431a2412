"""One stage of a run: `dvc repro STAGE` in a clone, and its result."""

import json
import resource
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from pipelines.worker import complete_runs, declared, dvc, run_lock, stage_lock, timings
from pipelines.worker.clone import cloned
from pipelines.worker.job import Job, RefusedError
from pipelines.worker.plan import RAN_BEFORE

# Bytes: reports, not data sets.
_LARGEST_SAVED = 50_000_000
# Of a SHA-256 as text.
_DIGITS = 64


def stage(job: Job) -> dict[str, Any]:
    """Bring one stage up to date.

    What it depends on comes from the cache; where the cache lacks it, DVC runs it as well.

    Args:
        job: The task.

    Returns:
        The result: `ran` with its metrics and its peak of memory, or `restored`.

    Raises:
        RefusedError: The stage reported a permanent error, or the commit has no such stage.
        FailedError: It ended otherwise.
    """
    with cloned(job) as root:
        dvc.fetch(root, job)
        with stage_lock.held(root, job):
            started = time.monotonic()
            done = dvc.repro(root, job, [job.stage], variables=variables(job))
            if job.forced and not done.status and job.stage not in done.ran:
                # Alone: --force without it would run all that the stage depends on as well.
                words = ["--force", "--single-item", job.stage]
                done = dvc.repro(root, job, words, variables=variables(job), ran=done.ran)
                if not done.status:
                    _prefer_in_run_cache(root, job)
                    complete_runs.forget(job, job.stage)
            seconds = time.monotonic() - started
        if done.status:
            _check_declared(root, job.stage)
            done.fail(job.stage, note=_save_outputs(root, job))
        run_lock.add(job, root, {job.stage, *done.ran})
        if job.stage not in done.ran:
            return {"outcome": "restored", "reason": RAN_BEFORE}
        timings.save(job.state, job.stage, seconds)
        dvc.push(root, job, *done.ran)
        others = [name for name in done.ran if name != job.stage]
        return {
            "outcome": "ran",
            "reason": f"with {', '.join(others)}, which the cache lacked" if others else "",
            "peak_memory_mb": peak_memory_mb(),
            "metrics": metrics(root, [job.stage]),
            "events": done.events,
            "last_event": done.last_event,
            **_files(root, job.stage),
        }


def _files(root: Path, stage: str) -> dict[str, dict[str, Any]]:
    """By path, what DVC's lock says of a stage's inputs and outputs: digest, bytes, number of files."""
    entry = run_lock.entries(root / run_lock.LOCK)[stage]
    keys = {"digest": "md5", "bytes": "size", "files": "nfiles"}
    return {
        name: {row["path"]: {key: row.get(keys[key], 1) for key in keys} for row in entry.get(kind, [])}
        for name, kind in (("inputs", "deps"), ("outputs", "outs"))
    }


def _prefer_in_run_cache(root: Path, job: Job) -> None:
    """Make the stage's new outputs those that other tasks restore.

    Of several results of the same inputs, DVC restores the one that was saved last; it does not save a result
    again that it has.
    """
    if job.cache is None:
        return
    stages = run_lock.entries(root / run_lock.LOCK)
    for folder in (job.cache / "runs").glob("*/*"):
        # A file has the digest of its content as its name; what DVC is just writing has another.
        results = [path for path in folder.iterdir() if len(path.name) == _DIGITS]
        for path in results if len(results) > 1 else []:
            if _digests(yaml.safe_load(path.read_text(encoding="utf-8"))) == _digests(stages[job.stage]):
                path.touch()


def _digests(entry: Any) -> Any:
    """A stage's command, params and digests, without the sizes that the run cache leaves out."""
    parts = {kind: {row["path"]: row.get("md5") for row in entry.get(kind, [])} for kind in ("deps", "outs")}
    return parts | {"cmd": entry["cmd"], "params": entry.get("params")}


def checkpoints(job: Job) -> Path | None:
    """The folder of this run's checkpoints."""
    return job.state / "checkpoints" / job.run if job.state else None


def _save_outputs(root: Path, job: Job) -> str:
    """Save what a failed stage wrote, as DVC does not; return where: a report may say why it stopped."""
    if job.state is None:
        return ""
    folder = job.state / "failed" / job.run / job.stage
    saved = []
    (body,) = _declared(root, [job.stage])
    for path in (root / name for name in _paths(body.get("outs", []), job.stage)):
        if path.is_file() and path.stat().st_size <= _LARGEST_SAVED:
            saved.append(folder / path.relative_to(root))
            saved[-1].parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, saved[-1])
    pages = [path for path in saved if path.suffix == ".html"]
    return f"; see {pages[0] if pages else folder}" if saved else ""


def _check_declared(root: Path, address: str) -> None:
    """Raise RefusedError for a stage that dvc.yaml lacks: Airflow's graph may be of another commit."""
    stages, name = declared.stages(root), address.partition("@")[0]
    if name not in stages:
        raise RefusedError(f"dvc.yaml of the run's commit has no stage {name}; it has {', '.join(stages)}")


def _declared(root: Path, addresses: Iterable[str]) -> list[dict[str, Any]]:
    """Stages as dvc.yaml has them, their templates not filled in."""
    stages = declared.stages(root)
    bodies = [stages[address.partition("@")[0]] for address in addresses]
    return [body.get("do", body) for body in bodies]


def variables(job: Job) -> dict[str, str]:
    """Folders outside of the clone: this run's checkpoints, and the results of images that all runs share."""
    folder = checkpoints(job)
    if folder is None or job.state is None:
        return {}
    return {
        "CONVOY_CHECKPOINTS": str(folder / job.stage),
        "CONVOY_IMAGE_RESULTS": str(job.state / "image_results"),
    }


def peak_memory_mb() -> int:
    """Of the largest process that has ended: the stage, not DVC."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024


def metrics(root: Path, addresses: Iterable[str]) -> dict[str, Any]:
    """The content of the JSON files that dvc.yaml lists as the stages' metrics; others are left out."""
    merged: dict[str, Any] = {}
    for address in addresses:
        (body,) = _declared(root, [address])
        for path in (root / name for name in _paths(body.get("metrics", []), address)):
            try:
                merged |= json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, TypeError):
                print(f"{path.relative_to(root)} is not a JSON object; its metrics are left out", flush=True)
    return merged


def _paths(entries: Iterable[Any], address: str) -> list[str]:
    """Outputs or metrics of a stage as DVC has them: a path, or a mapping from a path to its options."""
    texts = (entry if isinstance(entry, str) else next(iter(entry)) for entry in entries)
    return [text.replace("${key}", address.partition("@")[2]) for text in texts]
