"""The end of a run: proof that it is complete, a DVC experiment, links between Airflow, DVC and MLflow."""

import base64
import json
import os
import shutil
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipelines.worker import complete_runs, dvc
from pipelines.worker.clone import cloned
from pipelines.worker.job import FailedError, Job
from pipelines.worker.lines import without_login
from pipelines.worker.shell import git
from pipelines.worker.stage import checkpoints, metrics

# The tag by which tracking files a run's stages under one parent.
RUN_TAG = "convoy.run"
# MLflow has two kinds of pages; without this, a run opens as the evaluation of an assistant.
_PAGE_KIND = "?workflowType=machine_learning"
# Seconds before each further try at a server that is unreachable, or says that the fault is its own.
_PAUSES = (1.0, 4.0)


def record(job: Job) -> dict[str, Any]:
    """Restore the whole run in a clean clone, save it as the experiment of the run's name, push that.

    Args:
        job: The task.

    Returns:
        The result: experiment, commit, and MLflow's run where there is one.

    Raises:
        RefusedError: A server refused the login.
        FailedError: A stage would have to run: the run is not complete.
    """
    with cloned(job) as root:
        dvc.fetch(root, job)
        since = time.time()
        done = dvc.restore(root, job)
        if done.ran:
            raise FailedError(f"the run is not complete; the cache lacks {', '.join(done.ran)}")
        if done.status:
            raise FailedError(done.error or f"dvc repro: exit status {done.status}")
        mlflow_run = _mlflow_run(job)
        links = [link for link in (job.run_url, mlflow_run.get("mlflow_url")) if link]
        _ensure_author(root)
        dvc.ask(root, "exp", "save", "--force", "--name", job.run, "--message", "\n".join([job.run, *links]))
        _push_experiment(root, job.run)
        dvc.push(root, job)
        if (folder := checkpoints(job)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
        commit = git(root, "rev-parse", "HEAD").strip()
        recorded = {"experiment": job.run, **mlflow_run, "metrics": metrics(root, done.restored)}
        complete_runs.save(job, root, commit, job.params, done.restored, since=since, recorded=recorded)
        return {
            "outcome": "recorded",
            "reason": f"all {len(done.restored)} stages restored from the cache",
            "commit": commit,
            **recorded,
        }


def _ensure_author(root: Path) -> None:
    """Name an author in the clone where git knows none: without name and address, DVC saves no experiment."""
    # As in the images (docker/stage.Dockerfile).
    for key, value in (("user.name", "Convoy"), ("user.email", "convoy@localhost")):
        if not git(root, "config", "--default", "", key).strip():
            git(root, "config", key, value)


def _push_experiment(root: Path, name: str) -> None:
    """Push a saved experiment to the repository.

    By git itself, as the clone was: `dvc exp push` has a git client of its own, which knows neither
    GIT_SSH_COMMAND nor GIT_SSL_CAINFO, so that a key or an authority of the clone was not used.
    """
    references = git(root, "for-each-ref", "--format=%(refname)", "refs/exps").split()
    (reference,) = (reference for reference in references if reference.endswith(f"/{name}"))
    # Forced: a run that is recorded again replaces its own experiment, never another's.
    git(root, "push", "--quiet", "--force", "origin", f"{reference}:{reference}")


def _mlflow_run(job: Job) -> dict[str, str | None]:
    """Search the parent run in MLflow and tag it with the links; without MLflow, only print that."""
    nothing: dict[str, str | None] = {"mlflow_run_id": None, "mlflow_url": None}
    server = os.environ.get("MLFLOW_TRACKING_URI", "").rstrip("/")
    if not server.startswith("http"):
        return nothing
    try:
        experiments = _post(server, "experiments/search", {"max_results": 1000}).get("experiments", [])
        # The oldest: where stages that started at once made two, tracking settles on that one.
        query = {
            "experiment_ids": [experiment["experiment_id"] for experiment in experiments],
            "filter": f"tags.`{RUN_TAG}` = '{job.run}'",
            "order_by": ["attributes.start_time ASC"],
            "max_results": 1,
        }
        runs = _post(server, "runs/search", query).get("runs", [])
        if not runs:
            print(f"MLflow has no run with the tag {RUN_TAG} = {job.run}: nothing was trained", flush=True)
            return nothing
        info = runs[0]["info"]
        for key, value in {"airflow.url": job.run_url, "dvc.experiment": job.run}.items():
            if value:
                _post(server, "runs/set-tag", {"run_id": info["run_id"], "key": key, "value": value})
    # Unreachable, or not MLflow: a login page is no JSON.
    except (OSError, ValueError, HTTPException) as error:
        print(without_login(f"MLflow at {server} is not linked: {error}"), flush=True)
        return nothing
    page = f"{job.mlflow_url}/#/experiments/{info['experiment_id']}/runs/{info['run_id']}{_PAGE_KIND}"
    return {"mlflow_run_id": info["run_id"], "mlflow_url": page}


def _login(server: str) -> dict[str, str]:
    """The header of a login: of the address, or from the variables that MLflow itself reads."""
    parts = urlsplit(server)
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("USERNAME", "PASSWORD"))
    if parts.username:
        user, password = unquote(parts.username), unquote(parts.password or "")
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {basic}"} if user else {}


def _post(server: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """One call of MLflow's REST interface: its package would take 3 s to import."""
    request = urllib.request.Request(
        f"{without_login(server)}/api/2.0/mlflow/{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **_login(server)},
    )
    for pause in (*_PAUSES, None):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                decoded: dict[str, Any] = json.load(answer)
            break
        except OSError as error:
            if pause is None or getattr(error, "code", 500) < 500:
                raise
            time.sleep(pause)
    return decoded
