"""What will run and why: whatever the cache has is restored, and the rest will run."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.worker import complete_runs, declared, dvc, run_lock, timings
from pipelines.worker.clone import cloned
from pipelines.worker.compose import check, compose
from pipelines.worker.job import FailedError, Job, RefusedError
from pipelines.worker.lines import without_login
from pipelines.worker.run_lock import LOCK
from pipelines.worker.shell import git

Lock = Mapping[str, Mapping[str, Any]]
UNCHANGED = "unchanged since the last run"
RAN_BEFORE = "ran before with the same code, params and inputs"


@dataclass(frozen=True)
class Planned:
    """One stage: whether it will run, why or why not, and how many seconds it took when it last ran.

    `forced`: it runs although the cache has its outputs.
    """

    runs: bool
    reason: str
    seconds: float | None
    forced: bool = False


def plan(job: Job) -> dict[str, Any]:
    """Compose and check the params, then plan.

    Args:
        job: The task.

    Returns:
        The result: commit, params, the plan of each stage, and where the same run was recorded before.

    Raises:
        RefusedError: The params are not allowed, or dvc.yaml cannot be read.
        FailedError: DVC failed.
    """
    with cloned(job) as root:
        composes = (root / "conf").is_dir()
        if composes:
            compose(root, job.overrides)
        commit = git(root, "rev-parse", "HEAD").strip()
        params = (root / "params.yaml").read_text(encoding="utf-8")
        earlier = complete_runs.load(job, root, commit, params)
        if earlier:
            stages = {name: Planned(False, RAN_BEFORE, None) for name in earlier.stages}
        else:
            if composes:
                check(root)
            stages = _planned_by_dvc(root, job, commit, params)
        stages = _forced(stages, job)
        print(table(stages), flush=True)
        return {
            "outcome": "planned",
            "reason": summary(stages),
            "commit": commit,
            "params": params,
            "stages": {name: asdict(planned_stage) for name, planned_stage in stages.items()},
            "recorded": earlier and _still_there(root, earlier.recorded),
        }


def _planned_by_dvc(root: Path, job: Job, commit: str, params: str) -> dict[str, Planned]:
    """Plan with DVC; remember a run with nothing to do."""
    since = time.time()
    _last_lock(root, job.state)
    stages = planned(root, job)
    run_lock.begin(job, root, [name for name, stage in stages.items() if not stage.runs])
    if not any(stage.runs for stage in stages.values()):
        complete_runs.save(job, root, commit, params, stages, since=since)
    return stages


def _forced(stages: Mapping[str, Planned], job: Job) -> dict[str, Planned]:
    """Mark the stages that are to run although nothing changed; `train` means all its members."""
    if job.forced and job.remote:
        raise RefusedError(
            f"a stage cannot be forced with CONVOY_REMOTE={job.remote}: the run cache there would give "
            "the next stage either result; use a shared CONVOY_CACHE"
        )
    names = {name: {name, name.partition("@")[0]} for name in stages}
    for entry in job.forced:
        if not any(entry in allowed for allowed in names.values()):
            raise RefusedError(f"the run has no stage {entry} to force; it has {', '.join(stages)}")
    forced = [name for name, allowed in names.items() if allowed & set(job.forced)]
    return {**stages} | {name: _forced_stage(stages[name], name, job) for name in forced}


def _forced_stage(stage: Planned, name: str, job: Job) -> Planned:
    reason = f"{stage.reason}; forced" if stage.runs else f"forced ({stage.reason})"
    return Planned(True, reason, timings.last(job.state, name), forced=True)


def _still_there(root: Path, recorded: dict[str, Any] | None) -> dict[str, Any] | None:
    """Where a run was recorded; None where a person has deleted the experiment since."""
    if recorded is None:
        return None
    reference = git(root, "ls-remote", "origin", f"refs/exps/*/*/{recorded['experiment']}")
    return recorded if reference else None


def planned(root: Path, job: Job) -> dict[str, Planned]:
    """Plan every stage, by its address, against the clone's dvc.lock; restore what is cached."""
    # Before DVC, which says several lines of a dvc.yaml that cannot be read; the task would be tried again.
    order = list(declared.stages(root))
    before: Lock = run_lock.entries(root / LOCK)
    dvc.fetch(root, job)
    done = dvc.restore(root, job)
    changed = dvc.status(root)
    if done.status and not done.ran:
        raise FailedError(done.error or "dvc repro fails")
    after: Lock = run_lock.entries(root / LOCK)
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    stages = {
        name: Planned(False, UNCHANGED if before.get(name) == after.get(name) else RAN_BEFORE, None)
        for name in done.restored
    }
    for name, changes in changed.items():
        reason = "; ".join(_reasons(changes, before.get(name), params)) or "its outputs are not in the cache"
        stages[name] = Planned(True, without_login(reason), timings.last(job.state, name))
    return dict(sorted(stages.items(), key=lambda item: order.index(item[0].partition("@")[0])))


def summary(stages: Mapping[str, Planned]) -> str:
    """One line: how many stages will run, and how long they took before."""
    running = [stage for stage in stages.values() if stage.runs]
    if not running:
        return f"nothing to do: all {len(stages)} stages are cached"
    seconds = [stage.seconds for stage in running if stage.seconds is not None]
    timed = [f"{sum(seconds):.0f} s one after another"] if seconds else []
    untimed = [f"{len(running) - len(seconds)} not timed before"] if len(seconds) < len(running) else []
    return f"{len(running)} of {len(stages)} stages will run: {', '.join(timed + untimed)}"


def table(stages: Mapping[str, Planned]) -> str:
    """A line for each stage, and the summary."""
    width = max(map(len, stages), default=0)
    lines = []
    for name, stage in stages.items():
        seconds = "" if not stage.runs else "     ? s" if stage.seconds is None else f"{stage.seconds:6.0f} s"
        verb = "will run" if stage.runs else "cached"
        lines.append(f"{name:{width}}  {verb:8}  {seconds:8}  {stage.reason}")
    return "\n".join([*lines, summary(stages)])


def _last_lock(root: Path, state: Path | None) -> None:
    """Write the dvc.lock that reasons compare with into a clone: the newest experiment's, or the commit's.

    Without the entries of stages that were forced since, by a run that did not reach its end.
    """
    git(root, "fetch", "--quiet", "origin", "+refs/exps/*:refs/exps/*")
    # Experiments are below their baseline's commit, cut in two; DVC has other references beside them.
    newest = ["--sort=-committerdate", "--count=1", "--format=%(objectname)", "refs/exps/??/*/*"]
    commit = git(root, "for-each-ref", *newest).strip() or "HEAD"
    if not git(root, "ls-tree", commit, LOCK):
        return
    (root / LOCK).write_text(git(root, "show", f"{commit}:{LOCK}"), encoding="utf-8")
    when = float(git(root, "log", "-1", "--format=%ct", commit, "--", LOCK))
    if state is not None:
        run_lock.leave_out(root, lambda stage: complete_runs.is_forced_since(state, stage, when))


def _reasons(
    changes: list[Any], before: Mapping[str, Any] | None, params: Mapping[str, Any]
) -> Iterator[str]:
    """The changes that `dvc status` lists for a stage, with the values of changed params."""
    if before is None:
        yield "has not run before"
        return
    if "changed command" in changes:
        yield "its command changed"
    deps = {
        key: kind
        for change in changes
        if isinstance(change, dict)
        for key, kind in change.get("changed deps", {}).items()
    }
    for path, kind in deps.items():
        if not isinstance(kind, dict):
            yield f"{path} will be new" if kind == "deleted" else f"{path} {kind}"
            continue
        for key in kind:
            yield from _differences(
                key, before.get("params", {}).get(path, {}).get(key), declared.value_at(params, key)
            )


def _differences(key: str, old: Any, new: Any) -> Iterator[str]:
    """`key old → new` for each value within that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            yield from _differences(f"{key}.{name}", old.get(name), new.get(name))
    elif old != new:
        yield f"{key} {json.dumps(old)} → {json.dumps(new)}"
