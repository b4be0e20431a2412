"""The kubernetes runner's result for what becomes of its pod, before a server that a test directs."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from pipelines.worker.lines import result_lines
from tests.pipelines import cluster
from tests.pipelines.cluster import RUNNING, Cluster, container, unschedulable, warning
from tests.pipelines.driven import ended, upto
from tests.pipelines.kubernetes_work import VARIABLES, started

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("airflow_environment")]
RESULT = {"outcome": "ran", "reason": "", "seconds": 1.0}


def at(seconds: float, text: str) -> str:
    """A line of a pod's log with its time; a node leaves out the last zeros of a fraction."""
    return f"2026-11-26T02:00:{seconds:012.9f}".rstrip("0") + f"Z {text}\n"


def written(seconds: float, result: dict[str, Any]) -> str:
    """The lines of a result, as the worker writes it."""
    return "".join(at(seconds, line) for line in result_lines(json.dumps(result)))


SUCCESS = at(3, "Running stage") + written(4.5, RESULT)


def run(server: Cluster, folder: Path, **options: Any) -> tuple[dict[str, Any], str]:
    """The result of one work, and what was logged."""
    with server.serving(folder) as kubeconfig, started(kubeconfig, **options) as process:
        return ended(process)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLFLOW_TRACKING_PASSWORD", "hunter2"),
        ("CONVOY_REPOSITORY", "https://robot:hunter2@git.example.com/project.git"),
        ("CONVOY_REPOSITORY", "https://hunter2@git.example.com/project.git"),
        ("CONVOY_REPOSITORY", "ssh://robot:hunter2@git.example.com/project.git"),
        ("HTTPS_PROXY", "http://robot:hunter2@proxy.example.com:3128"),
        ("CONVOY_OVERRIDES", '["ingest.source.url=https://robot:hunter2@example.com/a.zip"]'),
        ("CONVOY_PARAMS", "ingest:\n  source:\n    url: https://hunter2@example.com/a.zip\n"),
    ],
)
def test_a_password_that_the_pod_would_show_is_refused(tmp_path: Path, name: str, value: str) -> None:
    server = Cluster([RUNNING])
    result, output = run(server, tmp_path, variables=VARIABLES | {name: value})
    assert result["outcome"] == "refused"
    assert f"{name} would be readable in the pod" in result["reason"]
    assert "hunter2" not in output + json.dumps(result)
    assert server.pod is None


@pytest.mark.parametrize(("setting", "value"), [("node_selector", "gpu"), ("tolerations", "[{")])
def test_a_wrong_setting_is_refused_before_a_pod_is_made(tmp_path: Path, setting: str, value: str) -> None:
    server = Cluster([RUNNING])
    result, _ = run(server, tmp_path, config={setting: value})
    assert result["outcome"] == "refused"
    assert result["reason"].startswith(f"CONVOY_{setting.upper()} ")
    assert server.pod is None


def test_the_log_comes_line_by_line_and_the_result_with_it(tmp_path: Path) -> None:
    server = Cluster([RUNNING, cluster.ended(0, "Completed")], [SUCCESS])
    result, output = run(server, tmp_path)
    assert result == RESULT
    assert output.splitlines().count("Running stage") == 1
    assert "convoy-result" not in output
    assert server.deleted.is_set(), "the pod is left behind"


def test_a_large_result_has_no_line_that_a_container_runtime_splits(tmp_path: Path) -> None:
    """A node before Kubernetes 1.26 put a time into the middle of it, within the params."""
    large = RESULT | {"params": "ü" * 20_000}
    log = at(3, "Running stage") + written(4, large)
    assert max(len(line.encode()) for line in log.splitlines()) < 16 * 1024
    server = Cluster([RUNNING, cluster.ended(0, "Completed")], [log])
    result, output = run(server, tmp_path)
    assert result == large
    assert "convoy-result" not in output


def test_a_broken_log_is_asked_for_again_and_no_line_comes_twice(tmp_path: Path) -> None:
    first, second = at(1, "one") + at(1.1, "two"), at(1.1, "two") + at(1.15, "three")
    server = Cluster([RUNNING, RUNNING, cluster.ended(0, "Completed")], [first, second, second + SUCCESS])
    result, output = run(server, tmp_path)
    assert result == RESULT
    numbers = [line for line in output.splitlines() if line in ("one", "two", "three")]
    assert numbers == ["one", "two", "three"]


def test_an_api_server_that_is_unreachable_for_a_while_ends_nothing(tmp_path: Path) -> None:
    server = Cluster([RUNNING, cluster.ended(0, "Completed")], [SUCCESS], refuses=[503, 503, 500])
    assert run(server, tmp_path)[0] == RESULT


def test_an_api_server_that_does_not_answer_is_asked_again(tmp_path: Path) -> None:
    server = Cluster([RUNNING, cluster.ended(0, "Completed")], [SUCCESS], ignores=5)
    assert run(server, tmp_path, constants={"_SECONDS_TO_ANSWER": 0.3})[0] == RESULT


@pytest.mark.parametrize("status", [503, 429])
def test_an_api_server_that_stays_unreachable_is_tried_again(tmp_path: Path, status: int) -> None:
    result, _ = run(Cluster([RUNNING], refuses=[status] * 9), tmp_path, patience=0)
    assert result == {
        "outcome": "failed",
        "reason": "the cluster refuses the pod: etcdserver: leader changed",
    }


def test_the_pod_of_an_earlier_try_is_waited_for(tmp_path: Path) -> None:
    server = Cluster([cluster.ended(0, "Completed")], [SUCCESS], lingers=2)
    assert run(server, tmp_path)[0] == RESULT
    methods = [call.split()[0] for call in server.calls]
    assert methods.count("POST") == 1
    assert methods[: methods.index("POST")] == ["DELETE", "GET", "GET", "GET"]


@pytest.mark.parametrize(
    ("statuses", "outcome", "says"),
    [
        ([cluster.ended(137, "OOMKilled")], "failed", "out of memory (limit 8 GiB)"),
        ([cluster.ended(137)], "failed", "killed (SIGKILL) from outside"),
        ([cluster.ended(1)], "failed", "exit status 1; last lines: one | two"),
        ([RUNNING, None], "failed", "the pod was deleted while it ran"),
        # What a node may say of a pod that it has removed.
        ([RUNNING, {"phase": "Failed"}], "failed", "the pod was deleted while it ran"),
        (
            [{"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}],
            "failed",
            "Evicted: The node was low on resource: memory.",
        ),
        (
            [unschedulable('persistentvolumeclaim "convoy" not found')],
            "refused",
            'Unschedulable: persistentvolumeclaim "convoy" not found',
        ),
        (
            [container({"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}})],
            "refused",
            "ErrImagePull: manifest unknown",
        ),
        (
            [container({"waiting": {"reason": "ErrImagePull", "message": "pull access denied for a"}})],
            "refused",
            "ErrImagePull: pull access denied for a",
        ),
        (
            [
                container(
                    {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "a" not found'}}
                )
            ],
            "refused",
            'CreateContainerConfigError: secret "a" not found',
        ),
    ],
)
def test_the_result_says_how_a_pod_ended(
    tmp_path: Path, statuses: list[Any], outcome: str, says: str
) -> None:
    server = Cluster(statuses, [at(1, "one") + at(2, "two")])
    result, _ = run(server, tmp_path)
    assert result["outcome"] == outcome
    assert says in result["reason"]
    assert server.deleted.is_set(), "the pod is left behind"


def test_a_worker_that_was_stopped_and_not_by_airflow_was_deleted_with_its_pod(tmp_path: Path) -> None:
    stopped = written(1, {"outcome": "stopped", "reason": "SIGTERM"})
    for last in (cluster.ended(143), {"phase": "Succeeded"}):
        result, _ = run(Cluster([RUNNING, last], [stopped]), tmp_path)
        assert result["outcome"] == "stopped"
        assert result["reason"].startswith("the pod was deleted while it ran: its node was drained")


@pytest.mark.parametrize("status", [RUNNING, unschedulable("its node is gone")])
def test_a_deleted_pod_that_does_not_end_ends_its_task(tmp_path: Path, status: cluster.Status) -> None:
    server = Cluster([status], is_deleted=True)
    result, _ = run(server, tmp_path, constants={"_SECONDS_TO_GO": 0.5})
    reason = f"the deleted pod {cluster.NAME} does not end: is its node unreachable?"
    assert result == {"outcome": "failed", "reason": reason}


def test_a_deleted_pod_has_time_to_end(tmp_path: Path) -> None:
    server = Cluster([RUNNING, RUNNING, cluster.ended(0, "Completed")], [SUCCESS], is_deleted=True)
    assert run(server, tmp_path)[0] == RESULT


def test_a_queue_for_a_node_ends_at_our_own_timeout_with_the_clusters_reason(tmp_path: Path) -> None:
    message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    server = Cluster([unschedulable(message)])
    result, output = run(server, tmp_path, config={"start_timeout": "0.03"})
    assert result["outcome"] == "failed"
    assert result["reason"].startswith(f"the pod has not started in time: Unschedulable: {message}")
    assert output.count(f"awaited_pod reason=Unschedulable: {message}") == 1


def test_the_reason_of_a_volume_that_is_not_mounted_is_that_of_the_events(tmp_path: Path) -> None:
    starting = container({"waiting": {"reason": "ContainerCreating"}})
    # A file server that is reloaded denies for a while; a wrong login of a pull is refused.
    message = "FailedMount: mount.nfs: access denied by server while mounting"
    server = Cluster([starting], events=[warning(message)])
    result, _ = run(server, tmp_path, config={"start_timeout": "0.03"})
    assert result["outcome"] == "failed"
    assert message in result["reason"]


def test_a_warning_of_an_earlier_trys_pod_does_not_count(tmp_path: Path) -> None:
    starting = container({"waiting": {"reason": "ContainerCreating"}})
    old = warning('Failed: Error: secret "convoy-login" not found', uid="of-the-pod-before")
    server = Cluster([starting, cluster.ended(0, "Completed")], [SUCCESS], events=[old])
    assert run(server, tmp_path)[0] == RESULT


def test_a_pod_that_the_cluster_refuses_is_not_tried_again(tmp_path: Path) -> None:
    result, _ = run(Cluster([RUNNING], create_status=403), tmp_path)
    reason = "the cluster refuses the pod: pods is forbidden: exceeded quota"
    assert result == {"outcome": "refused", "reason": reason}


def test_a_pod_whose_creation_was_not_confirmed_is_the_works_own(tmp_path: Path) -> None:
    server = Cluster([cluster.ended(0, "Completed")], [SUCCESS], loses_creation=True)
    assert run(server, tmp_path)[0] == RESULT


def test_a_memory_limit_that_is_no_amount_is_refused_before_a_pod_is_made(tmp_path: Path) -> None:
    server = Cluster([RUNNING])
    result, _ = run(server, tmp_path, settings={"memory": "much"})
    assert result["outcome"] == "refused"
    assert "memory is 'much'; allowed: a number with" in result["reason"]
    assert server.pod is None


@pytest.mark.parametrize("cancel_at", ["", "WAITS"])
def test_a_cancel_deletes_the_pod_even_in_the_midst_of_a_line(tmp_path: Path, cancel_at: str) -> None:
    server = Cluster([RUNNING, None], [at(1, "WAITS")])
    with server.serving(tmp_path) as kubeconfig, started(kubeconfig, cancel_at=cancel_at) as process:
        assert process.stdout is not None
        if not cancel_at:
            upto(process.stdout, "WAITS")
            process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == {"outcome": "stopped", "reason": "cancelled"}
    assert server.deleted.is_set()
