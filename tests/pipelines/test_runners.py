"""The contract of a runner: each is put to the same questions."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.conftest import base_image, docker, engine, image, proxy_image, started_proxy  # noqa: F401
from tests.kubernetes.conftest import cluster, data_image  # noqa: F401
from tests.pipelines.conftest import AIRFLOW_PYTHON, make
from tests.pipelines.driven import Driven, ended, params, runner_process, upto

pytestmark = pytest.mark.slow


@pytest.fixture(params=["process", "docker", "docker behind the proxy", "kubernetes"])
def driven(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driven]:
    kind = request.param.partition(" ")[0]
    if kind != "process":
        request.getfixturevalue("airflow_environment")
    if kind == "kubernetes":
        cluster = request.getfixturevalue("cluster")
        request.getfixturevalue("data_image")
        yield Driven(kind, make(cluster.folder()), cluster)
        return
    repository = make(tmp_path)
    driven = Driven(kind, repository)
    if kind == "docker":
        request.getfixturevalue("image")
    if not request.param.endswith("proxy"):
        yield driven
        return
    with started_proxy(
        request.getfixturevalue("proxy_image"),
        HOME=str(repository.shared),
        REPOSITORY=str(repository.root),
        DATA="/nowhere",
        UID=str(os.getuid()),
        GID=str(os.getgid()),
        DOCKER_NETWORK="host",
        STACK=repository.root.parent.name,
        IMAGES="convoy/data:test",
    ) as proxy:
        driven.environment = {"DOCKER_HOST": f"tcp://{proxy.address}"}
        yield driven


def test_the_same_command_with_the_works_variables_above_all_others(driven: Driven) -> None:
    driven.repository.write(
        "dvc.yaml", 'stages:\n  show:\n    cmd: env && echo "cwd $(pwd)"\n    always_changed: true\n'
    )
    driven.repository.commit()
    result, output = driven("show", GREETING="of the run", CONVOY_DEBUG="1")
    assert result["outcome"] == "ran"
    assert "GREETING=of the run" in output
    assert "CONVOY_RUN=run-1" in output
    assert "CONVOY_DEBUG=1" in output
    assert "AIRFLOW" not in output, "what can open Airflow is none of a stage's business"
    assert "CONVOY_CHECKPOINTS=" in output
    assert re.search(r"cwd \S+/clone\b", output), "a clone of its own"


def test_nodes_reach_the_stage_and_run_nothing_again(tmp_path: Path) -> None:
    """By the process runner, which has no works of their own for them."""
    driven = Driven("process", make(tmp_path))
    driven.repository.write("dvc.yaml", "stages:\n  show: {cmd: env >out, deps: [input], outs: [out]}\n")
    driven.repository.write("input", "")
    driven.repository.commit()
    result, _ = driven("show", settings={"nodes": 2})
    assert result["outcome"] == "ran"
    cached = driven.repository.shared / "cache" / "files" / "md5"
    outputs = [path.read_text() for path in cached.glob("*/*")]
    assert any("CONVOY_PROCESSES=2\n" in output for output in outputs)
    assert driven("show")[0]["outcome"] == "restored"
    assert driven("show", settings={"nodes": 4})[0]["outcome"] == "restored"


MEET = """
import os, pathlib, socket, time
host, _, port = os.environ["KERAS_DISTRIBUTION_JOB_ADDRESSES"].rpartition(":")
if os.environ["KERAS_DISTRIBUTION_PROCESS_ID"] == "0":
    with socket.create_server((host, int(port))) as server:
        print("rank 0 met", server.accept()[0].recv(99).decode(), flush=True)
    pathlib.Path("out").touch()
else:
    while True:
        try:
            connection = socket.create_connection((host, int(port)))
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    connection.sendall(b"another")
    print("of", os.environ["CONVOY_RUN"], flush=True)
"""


def test_nodes_meet_at_the_address_of_rank_0(driven: Driven, request: pytest.FixtureRequest) -> None:
    if driven.kind == "process" or request.node.callspec.id == "docker":
        pytest.skip("behind the proxy and as pods; tests/docker/test_ranks.py trains without a proxy")
    driven.repository.write(
        "dvc.yaml", "stages:\n  meet: {cmd: python meet.py, deps: [meet.py], outs: [out]}\n"
    )
    driven.repository.write("meet.py", MEET)
    driven.repository.commit()
    result, output = driven("meet", settings={"nodes": 2})
    assert result["outcome"] == "ran", output
    assert "rank 0 met another" in output
    assert "rank 1: of run-1" in output, "which rank says it"
    assert driven.remains("meet") == []


def test_the_result_says_how_it_ended(driven: Driven) -> None:
    assert driven("first")[0]["outcome"] == "ran"
    again, _ = driven("first")
    assert (again["outcome"], again["reason"]) == (
        "restored",
        "ran before with the same code, params and inputs",
    )
    refused, _ = driven("train@a", **params(driven.repository, fails=True))
    assert refused["outcome"] == "refused"
    assert 'the member is set to "fail"' in refused["reason"]
    crashed, _ = driven("train@a", **params(driven.repository, crashes=True))
    assert crashed["outcome"] == "failed"


@pytest.mark.parametrize("bare", [False, True])
def test_record_adds_the_experiment_to_the_repository(
    driven: Driven, bare: bool, request: pytest.FixtureRequest
) -> None:
    if bare and not request.node.callspec.id.startswith("docker-"):
        pytest.skip("only the docker runner mounts a repository; the proxy knows one with `.git` alone")
    repository, root = driven.repository, driven.repository.root
    if bare:
        root = root.with_name("bare")
        repository.git("clone", "--quiet", "--bare", ".", str(root))
        driven.config["repository"] = str(root)
    # After a push, git cannot clean up a repository that is read only.
    repository.git("-C", str(root), "config", "gc.auto", "1")
    place = {"CONVOY_REPOSITORY": str(root)}
    assert driven("judge", **place)[0]["outcome"] == "ran"
    result, output = driven("record", CONVOY_ACTION="record", **place)
    assert result["outcome"] == "recorded", output
    again, output = driven("record", CONVOY_ACTION="record", CONVOY_RUN_URL="http://a", **place)
    assert again["outcome"] == "recorded", output
    # On the claim of a cluster, the user that pods run as owns it.
    words = ["-c", f"safe.directory={root}", "-C", str(root), "for-each-ref", "refs/exps/??/*/run-1"]
    assert repository.git(*words).count("\n") == 1


def test_a_worker_that_is_killed_leaves_its_last_lines(driven: Driven) -> None:
    """SIGKILL from inside: what the kernel, a person or a lost node does."""
    driven.repository.write(
        "dvc.yaml",
        """
stages:
  kill:
    cmd: echo last words && python -c "import os; os.killpg(0, 9)"
    always_changed: true
""",
    )
    driven.repository.commit()
    result, _ = driven("kill")
    assert result["outcome"] == "failed"
    assert "exit status 137" in result["reason"]
    assert "last words" in result["reason"]


def test_a_stage_out_of_memory_is_reported_with_its_limit(driven: Driven) -> None:
    if driven.kind == "process":
        pytest.skip("the process runner has no memory limit")
    driven.repository.write(
        "dvc.yaml", 'stages:\n  eat:\n    cmd: python -c "[1] * 10**8"\n    always_changed: true\n'
    )
    driven.repository.commit()
    result, _ = driven("eat", settings={"memory": "300Mi"})
    assert result["outcome"] == "failed"
    assert "out of memory (limit 300 MiB)" in result["reason"]


def test_an_image_that_is_missing_and_a_wrong_limit_are_refused(driven: Driven) -> None:
    if driven.kind == "process":
        pytest.skip("the process runner has no images")
    result, _ = driven("first", settings={"image": driven.missing_image})
    assert result["outcome"] == "refused"
    assert "convoy/none" in result["reason"]
    result, _ = driven("first", settings={"memory": "much"})
    assert result["outcome"] == "refused"
    assert "memory is 'much'; allowed: a number with" in result["reason"]


def test_a_folder_that_is_missing_is_named_with_what_makes_it(
    driven: Driven, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.id != "docker":
        pytest.skip("only an engine mounts folders, and the proxy knows them by name")
    driven.config["repository"] = "/nowhere"
    result, _ = driven("first")
    assert result["outcome"] == "refused"
    assert "does not exist: /nowhere/.git; `make up` makes the folders" in result["reason"]


def test_an_engine_without_gpus_refuses_a_stage_that_wants_some(driven: Driven) -> None:
    if driven.kind != "docker":
        pytest.skip("only an engine starts containers; a pod waits for a node with GPUs")
    if "nvidia" in docker("info", "--format", "{{.Runtimes}}"):
        pytest.skip("this engine may have GPUs")
    result, _ = driven("first", settings={"image": "convoy/data:test", "gpu": 2})
    assert result["outcome"] == "refused", "another try would end the same"
    assert result["reason"].startswith("the engine does not have 2 GPUs: ")
    assert "gpus in the form" in result["reason"]
    assert driven.remains("first") == []


def test_a_container_that_a_person_removes_is_reported(driven: Driven) -> None:
    if driven.kind == "process":
        pytest.skip("the process runner has no container")
    with driven.started("train@a", **params(driven.repository, waits=600)) as process:
        assert process.stdout is not None
        upto(process.stdout, "waiting")
        driven.remove("train@a")
        result, _ = ended(process)
    # Kubernetes gives it time to write a checkpoint, `docker rm --force` does not.
    assert result["outcome"] == ("stopped" if driven.kind == "kubernetes" else "failed")
    # While Docker removes it, it is for a moment a container that was killed.
    assert re.search(r"(removed|deleted) while it ran|killed \(SIGKILL\) from outside", result["reason"])


def test_lines_come_while_it_runs_and_cancelling_ends_all(driven: Driven) -> None:
    with driven.started("train@a", **params(driven.repository, waits=600)) as process:
        assert process.stdout is not None
        upto(process.stdout, "waiting")
        process.send_signal(signal.SIGTERM)
        result, _ = ended(process)
    assert result["outcome"] == "stopped"
    assert driven.remains("train@a") == []
    resumed, _ = driven("train@a", **params(driven.repository, waits=600))
    assert resumed["outcome"] == "ran", "the next try resumes from the checkpoint instead of waiting"


def test_the_timeout_of_a_task_ends_all_before_airflow_cancels(driven: Driven) -> None:
    with driven.started("train@a", **params(driven.repository, waits=600)) as process:
        assert process.stdout is not None
        upto(process.stdout, "waiting")
        process.send_signal(signal.SIGALRM)
        assert ended(process)[0] == {"outcome": "expired"}
    # A worker that was killed leaves its clone, and its stage has written no checkpoint.
    assert driven.remains("train@a") == []


def test_cancelling_in_the_midst_of_a_line_ends_all(driven: Driven) -> None:
    result, output = driven("train@a", cancel_at="waiting", **params(driven.repository, waits=600))
    assert "waiting" in output
    assert result["outcome"] == "stopped"
    assert driven.remains("train@a") == []


@pytest.mark.parametrize(
    ("kind", "lacks"),
    [
        ("process", "/nowhere/python: No such file or directory"),
        ("docker", "unix:///nowhere/docker.sock: No such file or directory"),
        ("kubernetes", "Invalid kube-config file. No configuration found."),
    ],
)
@pytest.mark.usefixtures("airflow_environment")
def test_a_runner_that_has_nothing_to_run_with_is_refused(tmp_path: Path, kind: str, lacks: str) -> None:
    request = {
        "runner": kind,
        "name": "convoy-a",
        "variables": {"CONVOY_ACTION": "plan", "CONVOY_RUN": "a"},
        "config": {"state": str(tmp_path), "python": "/nowhere/python"},
        "patience": 0,
    }
    nowhere = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "KUBECONFIG": "/nowhere/config"}
    with runner_process([str(AIRFLOW_PYTHON)], json.dumps(request), **nowhere) as process:
        result, _ = ended(process)
    reason = f"the runner {kind} cannot start here: {lacks}"
    assert result == {"outcome": "refused", "reason": reason}


def test_an_unknown_runner_is_refused_with_those_there_are() -> None:
    from pipelines import runners
    from pipelines.config import Config

    with pytest.raises(ValueError, match="runner is podman; allowed: docker, kubernetes, process"):
        runners.create("podman", Config())
