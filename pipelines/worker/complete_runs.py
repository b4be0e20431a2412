"""Complete runs, remembered by commit, params and data, so that a plan of the same run need not start DVC.

A run is saved by `record`, and by a plan that restored all of it. It counts as long as inputs from outside of
git, such as images, have the same files, and the cache has all outputs. A plan that finds it saves it again:
nothing else tells a clean-up that the outputs are in use.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.worker import run_lock
from pipelines.worker.files import Files, write
from pipelines.worker.job import Job
from pipelines.worker.shell import git

_FOLDER, _FORCED = "plans", "forced"


@dataclass(frozen=True)
class CompleteRun:
    """A complete run.

    Attributes:
        stages: The addresses of its stages, in the plan's order.
        outputs: The digests of its outputs, as the cache names them.
        inputs: By path, a digest of the sizes and times of an input's files.
        recorded: What `record` returned: experiment, MLflow's run, metrics. None where it did not run.
    """

    stages: list[str]
    outputs: list[str]
    inputs: dict[str, str]
    recorded: dict[str, Any] | None


def load(job: Job, root: Path, commit: str, params: str) -> CompleteRun | None:
    """Return the complete run of a commit and params, where it still counts; save it again then.

    Args:
        job: The task.
        root: The clone, in which inputs are looked up.
        commit: The run's commit, in full.
        params: The text of its params.yaml.

    Returns:
        The run; None where DVC has to plan.
    """
    if job.state is None or job.cache is None:
        return None
    path = _path(job.state, commit, params)
    run = _read(path)
    if run is None or any(Files(root / name).digest != digest for name, digest in run.inputs.items()):
        return None
    if not all(_is_cached(job.cache, digest) for digest in run.outputs):
        return None
    # Written, not touched: another user may own the file.
    _write(path, run)
    return run


def forget(job: Job, stage: str) -> None:
    """Forget the complete runs with a stage that was forced since: its new outputs are those to restore.

    Also note the time: a plan does not take the stage's entry of an older dvc.lock (`is_forced_since`).
    """
    if job.state is None:
        return
    for path in (job.state / _FOLDER).glob("*.json"):
        if (run := _read(path)) is not None and stage in run.stages:
            path.unlink(missing_ok=True)
    write(job.state / _FORCED / stage, "")


def is_forced_since(state: Path, stage: str, when: float) -> bool:
    """Whether a stage was forced after this time, in seconds since the epoch."""
    try:
        return (state / _FORCED / stage).stat().st_mtime > when
    except FileNotFoundError:
        return False


def recent(state: Path, before: float) -> list[CompleteRun]:
    """The complete runs that were saved or found since.

    Args:
        state: The state folder.
        before: Seconds since the epoch: older runs are left out.
    """
    paths = [path for path in (state / _FOLDER).glob("*.json") if path.stat().st_mtime >= before]
    return [run for path in paths if (run := _read(path)) is not None]


def save(
    job: Job,
    root: Path,
    commit: str,
    params: str,
    stages: Iterable[str],
    *,
    since: float,
    recorded: dict[str, Any] | None = None,
) -> None:
    """Save a run that DVC has restored as a whole in a clone.

    Args:
        job: The task.
        root: The clone.
        commit: The run's commit, in full.
        params: The text of its params.yaml.
        stages: The addresses of its stages.
        since: When the restoring began, in seconds since the epoch. Where an input was changed later, DVC may
            have seen it before or after, and nothing is saved.
        recorded: What `record` returns.
    """
    if job.state is None or job.cache is None:
        return
    locked = run_lock.entries(root / run_lock.LOCK)
    inputs = {path: Files(root / path) for path in _outside(root, locked)}
    # Two seconds, as clocks of file servers and file times are coarse.
    if any(files.newest is None or files.newest > since - 2 for files in inputs.values()):
        return
    outputs = sorted({out["md5"] for stage in locked.values() for out in stage.get("outs", [])})
    path = _path(job.state, commit, params)
    digests = {name: files.digest for name, files in inputs.items()}
    if recorded is None and (earlier := _read(path)) and earlier.outputs == outputs:
        recorded = earlier.recorded
    _write(path, CompleteRun(list(stages), outputs, digests, recorded))


def _read(path: Path) -> CompleteRun | None:
    """A saved run; None where there is none, or another version of this program saved it."""
    try:
        return CompleteRun(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _write(path: Path, run: CompleteRun) -> None:
    write(path, json.dumps(asdict(run)))


def _outside(root: Path, locked: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The dependencies that are neither outputs nor in git: images that a user brings."""
    outputs = {out["path"] for stage in locked.values() for out in stage.get("outs", [])}
    paths = {dep["path"] for stage in locked.values() for dep in stage.get("deps", [])}
    tracked = set(filter(None, git(root, "ls-files", "-z").split("\0")))
    return {path for path in paths if not any(_overlap(path, name) for name in outputs | tracked)}


def _overlap(path: str, other: str) -> bool:
    return path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/")


def _is_cached(cache: Path, digest: str) -> bool:
    """Whether DVC's cache has an output; of a folder, all its files."""
    path = cache / "files" / "md5" / digest[:2] / digest[2:]
    if not digest.endswith(".dir"):
        return path.exists()
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return all(_is_cached(cache, entry["md5"]) for entry in entries)


def _path(state: Path, commit: str, params: str) -> Path:
    return state / _FOLDER / f"{hashlib.sha256(f'{commit} {params}'.encode()).hexdigest()}.json"
