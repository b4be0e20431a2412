"""The services of compose.yaml, stages in containers: a run, the same again, and what goes wrong in one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.conftest import ROOT, build_postgres
from tests.docker.stack import Stack, name_of
from tests.pipelines.e2e.client import Task

pytestmark = pytest.mark.slow

FORM: dict[str, Any] = {"recipe": "digits", "epochs": 1}
EPOCHS = 40
DETERMINISTIC = ("ingest", "audit", "resize", "mean", "pack", "extract")
# After one epoch; weights differ in their last bits from one build of the libraries to another.
TOLERANCE = 0.01
MINUTES = 60
# In the API server's container: the API waits for the scheduler's row, then the scheduler for the API's.
DEADLOCK = """
import threading, psycopg2
def connected(**options):
    return psycopg2.connect(host="postgres", user="airflow", dbname="airflow", **options)
api, scheduler, watcher = connected(), connected(options=" "), connected()
watcher.autocommit = True
with watcher.cursor() as cursor:
    cursor.execute("CREATE TABLE deadlock AS SELECT * FROM generate_series(1, 2) AS number")
def update(connection, number):
    connection.cursor().execute("UPDATE deadlock SET number = number WHERE number = %s", (number,))
update(api, 1)
update(scheduler, 2)
waiting = threading.Thread(target=update, args=(api, 2))
waiting.start()
with watcher.cursor() as cursor:
    blocked = False
    while not blocked:
        state = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
        cursor.execute(state, (api.info.backend_pid,))
        blocked = cursor.fetchone()[0]
try:
    update(scheduler, 1)
except psycopg2.errors.DeadlockDetected:
    print("the scheduler is cancelled")
scheduler.rollback()
waiting.join()
update(api, 1)
"""


@pytest.fixture(scope="module")
def stack(base_image: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The services, of images built here, in a clone that belongs to an ordinary user."""
    _build()
    root = tmp_path_factory.mktemp("stack")
    repository = root / "repository"
    _git(root, "clone", "--quiet", "--no-hardlinks", str(ROOT), str(repository))
    _git(repository, "checkout", "--quiet", "-B", "main")
    if os.getuid() == 0:
        subprocess.run(["chown", "--recursive", "1000:1000", str(repository)], check=True)
    stack = Stack(repository, f"convoy-test-{os.getpid()}")
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="module")
def first(stack: Stack) -> dict[str, Task]:
    """The tasks of a run of FORM."""
    stack.airflow.trigger("train", "first", **FORM)
    return stack.ended("first", 20 * MINUTES)


def test_a_run_in_containers_ends_green_and_members_run_side_by_side(
    stack: Stack, first: dict[str, Task]
) -> None:
    states = {name: task.state for name, task in first.items()}
    assert states.pop("approve") == "skipped", "the form asks for no approval"
    assert set(states.values()) == {"success"}, states
    members = first["train@lenet"], first["train@minivggnet"]
    begun, over = ([getattr(task, when) for task in members] for when in ("started", "ended"))
    assert max(begun) < min(over)
    assert stack.of_run(name_of("first")) == []


def test_it_is_what_the_workspace_makes(stack: Stack, first: dict[str, Task], tmp_path: Path) -> None:
    local = tmp_path / "local"
    _git(tmp_path, "clone", "--quiet", str(ROOT), str(local))
    recorded = _experiment(stack, "first")
    (local / "params.yaml").write_text(recorded("params.yaml"), encoding="utf-8")
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/local.db"}
    words = [sys.executable, "-m", "dvc", "repro", "--quiet", "audit", "evaluate"]
    subprocess.run(words, cwd=local, env=environment, check=True)

    in_container, in_workspace = (
        yaml.safe_load(text)["stages"]
        for text in (recorded("dvc.lock"), (local / "dvc.lock").read_text("utf-8"))
    )
    compared = [address for address in in_workspace if address.partition("@")[0] in DETERMINISTIC]
    assert {address.partition("@")[0] for address in compared} == set(DETERMINISTIC)
    for address in compared:
        assert _digests(in_container[address]) == _digests(in_workspace[address]), address
    metrics = stack.airflow.result("train", "first", "evaluate")["metrics"]
    ours = json.loads((local / "reports" / "metrics.json").read_text("utf-8"))
    assert metrics.keys() == ours.keys()
    for name, scores in ours.items():
        assert metrics[name]["accuracy"] == pytest.approx(scores["accuracy"], abs=TOLERANCE), name


def test_airflow_mlflow_and_dvc_are_linked(stack: Stack, first: dict[str, Task]) -> None:
    (parent,) = stack.mlflow.runs(f"tags.`convoy.run` = '{name_of('first')}'")
    tags = {tag["key"]: tag["value"] for tag in parent["data"]["tags"]}
    note = stack.airflow.run("train", "first")["note"]
    assert tags["dvc.experiment"] == name_of("first")
    assert tags["airflow.url"].endswith("/dags/train/runs/first")
    assert parent["info"]["run_id"] in note
    assert name_of("first") in note


def test_the_diagram_of_a_network_is_drawn_in_its_container(stack: Stack, first: dict[str, Task]) -> None:
    members = stack.mlflow.runs("tags.member = 'lenet' and tags.stage = 'train@lenet'")
    listed = stack.mlflow.ask(f"artifacts/list?run_id={members[0]['info']['run_id']}&path=architecture")
    assert "architecture/architecture.png" in {file["path"] for file in listed["files"]}


def test_the_same_again_is_skipped_with_reasons(stack: Stack, first: dict[str, Task]) -> None:
    stack.airflow.trigger("train", "again", **FORM)
    tasks = stack.ended("again", 5 * MINUTES)
    assert {task.name for task in tasks.values()} == {task.name for task in first.values()}
    assert tasks.pop("plan").state == "success"
    assert {task.state for task in tasks.values()} == {"skipped"}
    note = stack.airflow.run("train", "again")["note"]
    assert "nothing to do" in note
    assert name_of("first") in note, "where the same run was recorded"


def test_gpus_that_the_engine_does_not_have_end_a_run_at_once(stack: Stack, first: dict[str, Task]) -> None:
    if "nvidia" in stack.docker("info", "--format", "{{.Runtimes}}"):
        pytest.skip("this engine may have GPUs")
    if not stack.docker("images", "--quiet", "convoy/train-gpu"):
        # The engine asks for GPUs only when it starts a container of the image, whatever is in it.
        stack.docker("tag", "convoy/train", "convoy/train-gpu")
    stack.airflow.trigger("train", "gpus", **FORM | {"epochs": 2}, gpus=2)
    tasks = stack.ended("gpus", 10 * MINUTES)
    trainings = [tasks[name] for name in ("train@lenet", "train@minivggnet")]
    assert [(task.state, task.tries) for task in trainings] == [("failed", 1)] * 2
    assert "the engine does not have 2 GPUs: " in stack.airflow.run("train", "gpus")["note"]


def test_the_api_may_wait_longer_for_a_deadlock_also_on_a_volume_of_an_earlier_version(stack: Stack) -> None:
    revoke = "REVOKE SET ON PARAMETER deadlock_timeout FROM airflow"
    stack.docker("exec", stack.container("postgres"), "psql", "--username=postgres", f"--command={revoke}")
    stack.start()
    output = stack.docker("exec", stack.container("airflow"), "python", "-c", DEADLOCK)
    assert output.strip() == "the scheduler is cancelled"


def test_a_training_survives_its_containers_end_and_the_schedulers(stack: Stack) -> None:
    only = ["models.minivggnet.train.epochs=1", f"models.lenet.train.epochs={EPOCHS}"]
    stack.airflow.trigger("train", "killed", recipe="digits", overrides=only)
    name, epoch = name_of("killed"), 0
    for victim in (f"convoy-{name}-train-lenet", stack.container("scheduler")):
        epoch = stack.wait(partial(_further_than, epoch + 1, stack, name), 10 * MINUTES)
        stack.docker("kill", victim)
    assert epoch < EPOCHS, "it was over before it could be killed"
    # Docker restarts a container that has crashed, and not one that a person has killed.
    stack.docker("start", victim)
    tasks = stack.ended("killed", 15 * MINUTES)
    assert {task.state for task in tasks.values()} <= {"success", "skipped"}
    training = tasks["train@lenet"]
    assert training.tries == 3
    assert stack.mlflow.epochs(name) == list(range(1, EPOCHS + 1))
    assert "event=resumed_training" in stack.airflow.log("train", "killed", training.name, 2, training.index)


def test_a_stage_has_its_owners_rights_and_cancelling_the_run_stops_it(stack: Stack) -> None:
    stack.airflow.trigger("train", "cancelled", recipe="digits", seed=2, epochs=1000)
    name = name_of("cancelled")
    training = f"convoy-{name}-train-lenet"
    stack.wait(lambda: training in stack.of_run(name), 10 * MINUTES)
    (container,) = json.loads(stack.docker("inspect", training))
    owner = stack.repository.stat()
    assert container["Config"]["User"] == f"{owner.st_uid}:{owner.st_gid}"
    # One mount for cache and state: files are linked within a mount and copied between two.
    binds = {mount["Source"]: mount["RW"] for mount in container["Mounts"] if mount["Type"] == "bind"}
    repository = stack.repository
    assert binds == {f"{repository}/.git": False, f"{repository}/datasets": False, str(stack.home): True}
    assert stack.secrets["MLFLOW_ADMIN_PASSWORD"] not in str(container["Config"]["Env"])
    stack.airflow.ask("PATCH", "dags/train/dagRuns/cancelled", {"state": "failed"})
    stack.wait(lambda: not stack.of_run(name), 2 * MINUTES)


def _build() -> None:
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    done = subprocess.run(
        ["docker/images.sh"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    build_postgres("convoy/postgres:test")


def _further_than(epochs: int, stack: Stack, run: str) -> int:
    """How many epochs MLflow has of lenet's training in a run, once they are more than these; else 0."""
    now = len(stack.mlflow.epochs(run))
    return now if now > epochs else 0


def _experiment(stack: Stack, run: str) -> Any:
    """The function that reads a file of the DVC experiment that a run was saved as."""

    def git(*words: str) -> str:
        return _git(stack.repository, "-c", f"safe.directory={stack.repository}", *words)

    (reference,) = git("for-each-ref", "--format=%(refname)", f"refs/exps/**/{name_of(run)}").split()
    return lambda path: git("show", f"{reference}:{path}")


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def _digests(stage: dict[str, Any]) -> dict[str, str]:
    return {out["path"]: out["md5"] for out in stage["outs"]}
