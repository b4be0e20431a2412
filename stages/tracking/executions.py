"""One parent run for each execution of the pipeline, and an end for runs whose process was killed."""

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# On the parent: the execution's identity. Other programs find a run of theirs by it.
EXECUTION = "convoy.run"
PARENT, PROCESS, STAGE, DVC_STAGE = "mlflow.parentRunId", "process", "stage", "dvc.stage"
_MOST = 1000


@dataclass(frozen=True)
class Execution:
    """One execution of the pipeline.

    `identity` tells it from all others; `process` is the one that runs it, empty where that is on another
    machine.
    """

    identity: str
    name: str
    process: str


def current() -> Execution:
    """Return the execution that this process is part of.

    CONVOY_RUN names it. Without the variable it is one `dvc repro` or one experiment of `dvc exp run`: the
    nearest dvc among the processes above, or, without any, this process.
    """
    if name := os.environ.get("CONVOY_RUN"):
        return Execution(_quotable(name), name, "")
    experiment = os.environ.get("DVC_EXP_NAME", "")
    pid = _nearest_dvc()
    process = process_identity(pid)
    name = experiment or f"{'dvc repro' if pid != os.getpid() else 'by hand'} {time.strftime('%F %T')}"
    return Execution(_quotable(f"{process} {experiment}".strip()), name, process)


def _quotable(identity: str) -> str:
    """Without what ends a text in MLflow's queries, which have no escape for it."""
    return identity.replace("'", "")


def process_identity(pid: int) -> str:
    """Return a name that no other process ever has: machine, container, number and start.

    Not psutil's create_time, which moves with the system's clock: stages of one execution would disagree.
    """
    try:
        container = Path("/proc/self/ns/pid").readlink().name
        started = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        container, started = "", f"{psutil.Process(pid).create_time():.0f}"
    return f"{platform.node()} {container} {pid} {started}"


def is_alive(process: str) -> bool | None:
    """Say whether the process of a `process_identity` runs; None where it is of another machine."""
    own_words, words = process_identity(os.getpid()).split(" "), process.split(" ")
    if len(words) != 4 or words[:2] != own_words[:2]:
        return None
    pid = int(words[2])
    return psutil.pid_exists(pid) and process_identity(pid) == process


def parent_run(client: "MlflowClient", experiment: str, execution: Execution, tags: dict[str, str]) -> str:
    """Return the id of the execution's parent run, made with these tags if there is none.

    MLflow cannot create a run only if there is none, so stages that start at once may make several. The
    oldest counts. A process that sees others moves what is below them and deletes them; the last process to
    make a parent sees all of them.
    """
    runs = _parents(client, experiment, execution)
    if not runs:
        tags_of_parent = {
            EXECUTION: execution.identity,
            PROCESS: execution.process,
            STAGE: "pipeline",
            **tags,
        }
        client.create_run(experiment, run_name=execution.name, tags=tags_of_parent)
        runs = _parents(client, experiment, execution)
    oldest, *younger = [run.info.run_id for run in runs]
    for run_id in younger:
        for child in client.search_runs([experiment], f"tags.`{PARENT}` = '{run_id}'", max_results=_MOST):
            client.set_tag(child.info.run_id, PARENT, oldest)
        client.delete_run(run_id)
    return str(oldest)


def adopt(client: "MlflowClient", experiment: str, execution: Execution, run_id: str) -> str:
    """Put a run below its execution's parent, whose id is returned.

    The parent is looked up again afterwards: a process that made an older one in between has looked for
    children before this run was below it, and a process that makes one later sees the run.
    """
    parent = parent_run(client, experiment, execution, {})
    while True:
        client.set_tag(run_id, PARENT, parent)
        if (now := parent_run(client, experiment, execution, {})) == parent:
            return parent
        parent = now


def end_killed(client: "MlflowClient", experiment: str, run_id: str = "") -> None:
    """End the runs that no process will end as KILLED, their phases too, and then their parents.

    Those are runs whose process is dead, and earlier attempts at the DVC stage of the run `run_id`: within
    one execution, DVC runs a stage once at a time. Nothing else says so, as a sweep's trials show: they are
    trainings of one member below one parent, and two sweeps run side by side.
    """
    running = client.search_runs([experiment], "attributes.status = 'RUNNING'", max_results=_MOST)
    tags = {run.info.run_id: run.data.tags for run in running}
    own = tags.get(run_id, {})

    def is_killed(other: str) -> bool:
        alive = is_alive(tags[other].get(PROCESS, ""))
        same = all(tags[other].get(key) == own.get(key) for key in (PARENT, DVC_STAGE))
        return other != run_id and (alive is False or (alive is None and DVC_STAGE in own and same))

    killed = {other for other in tags if is_killed(other)}
    killed |= {other for other in tags if tags[other].get(PARENT) in killed}
    for other in killed:
        client.set_terminated(other, "KILLED")
    for parent in {tags[other].get(PARENT) for other in killed} & (set(tags) - killed):
        follow(client, experiment, str(parent), "KILLED")


def follow(client: "MlflowClient", experiment: str, parent: str, status: str) -> None:
    """Give the parent the status of its children: running while a child is, else that of the last to end."""
    if status != "RUNNING":
        below = f"tags.`{PARENT}` = '{parent}' and attributes.status = 'RUNNING'"
        if client.search_runs([experiment], below, max_results=1):
            return
        client.set_terminated(parent, status)
    elif client.get_run(parent).info.status != status:
        client.update_run(parent, status)


def _parents(client: "MlflowClient", experiment: str, execution: Execution) -> "list[Run]":
    query = f"tags.`{EXECUTION}` = '{execution.identity}'"
    runs = client.search_runs([experiment], query, max_results=_MOST)
    return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def _nearest_dvc() -> int:
    for process in psutil.Process().parents():
        try:
            words = process.cmdline()[:3]
        except psutil.Error:
            continue
        if any(Path(word).name in ("dvc", "dvc.exe") for word in words):
            return int(process.pid)
    return os.getpid()
