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

# On the parent: which execution it is of. Tools outside find a run of theirs by it.
RUN = "convoy.run"
PARENT, PROCESS, STAGE = "mlflow.parentRunId", "process", "stage"
_MOST = 1000


@dataclass(frozen=True)
class Execution:
    """`identity` tells it from all others; `process` is what runs it, empty where nobody here can know."""

    identity: str
    name: str
    process: str


def current() -> Execution:
    """The execution that this process is part of.

    That is what CONVOY_RUN names; without it, what one `dvc repro` or one experiment of `dvc exp run` does:
    the nearest dvc among the processes above, or, without any, this process.
    """
    if given := os.environ.get("CONVOY_RUN"):
        return Execution(given.replace("'", ""), given, "")
    experiment = os.environ.get("DVC_EXP_NAME", "")
    pid = _nearest_dvc()
    process = described(pid)
    name = experiment or f"{'dvc repro' if pid != os.getpid() else 'by hand'} {time.strftime('%F %T')}"
    return Execution(f"{process} {experiment}".strip(), name, process)


def described(pid: int) -> str:
    """A process as nobody else will ever be called: machine, container, number, start.

    Not psutil's create_time, which moves with the system's clock: stages of one execution would disagree.
    """
    try:
        container = Path("/proc/self/ns/pid").readlink().name
        started = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        container, started = "", f"{psutil.Process(pid).create_time():.0f}"
    return f"{platform.node()} {container} {pid} {started}"


def alive(process: str) -> bool | None:
    """Whether a `described` process still runs; None where that cannot be known from here."""
    here, words = described(os.getpid()).split(" "), process.split(" ")
    if len(words) != 4 or words[:2] != here[:2]:
        return None
    pid = int(words[2])
    return psutil.pid_exists(pid) and described(pid) == process


def parent(client: "MlflowClient", experiment: str, execution: Execution, tags: dict[str, str]) -> str:
    """The id of the execution's parent run, made if there is none.

    MLflow cannot make a run only if there is none, so stages that start at once may make several. The oldest
    counts. Whoever sees others moves what is below them and deletes them; the last to make one sees all.
    """
    found = _parents(client, experiment, execution)
    if not found:
        known = {RUN: execution.identity, PROCESS: execution.process, STAGE: "pipeline", **tags}
        client.create_run(experiment, run_name=execution.name, tags=known)
        found = _parents(client, experiment, execution)
    oldest, *younger = [one.info.run_id for one in found]
    for one in younger:
        below = f"tags.`{PARENT}` = '{one}'"
        for child in client.search_runs([experiment], below, max_results=_MOST):
            client.set_tag(child.info.run_id, PARENT, oldest)
        client.delete_run(one)
    return str(oldest)


def adopt(client: "MlflowClient", experiment: str, execution: Execution, run_id: str) -> str:
    """Put a run below its execution's parent, whose id is returned.

    The parent is asked for again afterwards: whoever made an older one in between has looked for children
    before this one was there, and whoever makes one later finds it.
    """
    found = parent(client, experiment, execution, {})
    while True:
        client.set_tag(run_id, PARENT, found)
        if (now := parent(client, experiment, execution, {})) == found:
            return found
        found = now


def _parents(client: "MlflowClient", experiment: str, execution: Execution) -> "list[Run]":
    found = client.search_runs([experiment], f"tags.`{RUN}` = '{execution.identity}'", max_results=_MOST)
    return sorted(found, key=lambda one: (one.info.start_time, one.info.run_id))


def end_killed(client: "MlflowClient", experiment: str, run_id: str) -> None:
    """End the runs that nobody will end: those whose process is dead, and earlier attempts at this stage."""
    running = client.search_runs([experiment], "attributes.status = 'RUNNING'", max_results=_MOST)
    tags = {one.info.run_id: one.data.tags for one in running}
    mine = tags.get(run_id, {})

    def killed(one: str) -> bool:
        again = all(tags[one].get(key) == mine.get(key) for key in (PARENT, STAGE)) and PARENT in mine
        return one != run_id and (again or alive(tags[one].get(PROCESS, "")) is False)

    dead = {one for one in tags if killed(one)}
    # Their phases, too.
    dead |= {one for one in tags if tags[one].get(PARENT) in dead}
    for one in dead:
        client.set_terminated(one, "KILLED")


def follow(client: "MlflowClient", experiment: str, parent: str, status: str) -> None:
    """Let the parent stand as its children do: running while one is, otherwise as the last one ended."""
    if status != "RUNNING":
        below = f"tags.`{PARENT}` = '{parent}' and attributes.status = 'RUNNING'"
        if client.search_runs([experiment], below, max_results=1):
            return
        client.set_terminated(parent, status)
    elif client.get_run(parent).info.status != status:
        client.update_run(parent, status)


def _nearest_dvc() -> int:
    for process in psutil.Process().parents():
        try:
            words = process.cmdline()[:3]
        except psutil.Error:
            continue
        if any(Path(word).name in ("dvc", "dvc.exe") for word in words):
            return int(process.pid)
    return os.getpid()
