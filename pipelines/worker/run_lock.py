"""The dvc.lock of a run: what its plan has restored and its tasks have made, which its other tasks take.

Of several results of the same inputs, DVC restores the one that was saved last. Without these entries that
can be another run's: a run would be evaluated with a network that it has not predicted with.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from pipelines.worker import declared
from pipelines.worker.files import write
from pipelines.worker.job import Job

LOCK = "dvc.lock"
FOLDER = "run_locks"
# No stage has a ~ in its name.
PLAN = "~plan"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def begin(job: Job, root: Path, stages: Iterable[str]) -> None:
    """Save what a plan has restored in its clone; a clean-up keeps these outputs.

    Args:
        job: The task.
        root: The clone, whose dvc.lock has their entries.
        stages: The addresses of the stages that it has restored.
    """
    if (folder := _folder(job)) is not None:
        locked = entries(root / LOCK)
        _write(folder, PLAN, {name: locked[name] for name in stages if name in locked})


def add(job: Job, root: Path, ran: Iterable[str]) -> None:
    """Save what a task has made, and what it was the first of its run to restore.

    Args:
        job: The task.
        root: The clone, whose dvc.lock has the entries.
        ran: The addresses of the stages that ran in it.
    """
    if (folder := _folder(job)) is None:
        return
    planned, replaced = entries(_file(folder, PLAN)), set(ran)
    for name, entry in entries(root / LOCK).items():
        if name in replaced or not (name in planned or _file(folder, name).exists()):
            _write(folder, name, {name: entry})


def load(job: Job, other_members: Callable[[str], bool] = lambda _: False) -> dict[str, Any]:
    """The run's entries by the address of their stage; a task's own win over the plan's.

    Args:
        job: The task.
        other_members: Says of an address whether it is left out. Of a run of 100 members, the entries of all
            are 1 MB, and a task of one member reads none of the others'.
    """
    merged: dict[str, Any] = {}
    if (folder := _folder(job)) is not None:
        for path in sorted(folder.glob("*.lock"), key=lambda path: path.stem != PLAN):
            if not other_members(path.stem):
                merged |= entries(path)
    return {name: entry for name, entry in merged.items() if not other_members(name)}


def restore(job: Job, root: Path) -> None:
    """Write the run's dvc.lock into the clone of one of its tasks; there is none before its plan."""
    stage, _, member = job.stage.partition("@")
    sections = {name: body.get("foreach") for name, body in declared.stages(root).items()} if member else {}

    def is_of_another_member(address: str) -> bool:
        name, _, other = address.partition("@")
        return bool(other) and other != member and sections.get(name, "") == sections.get(stage)

    if own := load(job, is_of_another_member):
        _dump(root / LOCK, own)


def leave_out(root: Path, stage_is_left_out: Callable[[str], bool]) -> None:
    """Remove entries from the dvc.lock of a clone."""
    locked = entries(root / LOCK)
    staying = {name: entry for name, entry in locked.items() if not stage_is_left_out(name)}
    if len(staying) < len(locked):
        _dump(root / LOCK, staying)


def _folder(job: Job) -> Path | None:
    return job.state / FOLDER / job.run if job.state else None


def entries(path: Path) -> dict[str, Any]:
    """The entries of a dvc.lock by the address of their stage; none where the file is missing or damaged."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _LOADER)  # noqa: S506  (a safe loader)
        return dict(values["stages"])
    except (FileNotFoundError, ValueError, TypeError, KeyError, yaml.YAMLError):
        # Stages may write into the state folder.
        return {}


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"


def _write(folder: Path, name: str, stages: dict[str, Any]) -> None:
    _dump(_file(folder, name), stages)


def _dump(path: Path, stages: dict[str, Any]) -> None:
    write(path, yaml.dump({"schema": "2.0", "stages": stages}, Dumper=_DUMPER, sort_keys=False))
