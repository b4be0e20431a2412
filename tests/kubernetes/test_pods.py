"""What a cluster does to pods, and what the runner says about it. The runners' contract has more of it."""

import json
import os
import signal
import threading

import pytest

from tests.kubernetes.cluster import Cluster
from tests.pipelines.driven import Driven, ended, params, upto
from tests.pipelines.e2e.client import wait_until

pytestmark = pytest.mark.slow


def test_a_stage_that_no_node_has_room_for_ends_with_the_schedulers_words(driven: Driven) -> None:
    driven.config["start_timeout"] = "0.1"
    result, output = driven("first", settings={"cpu": 640})
    assert result["outcome"] == "failed"
    assert "the pod has not started in time: Unschedulable" in result["reason"]
    assert "0/1 nodes are available: 1 Insufficient cpu" in result["reason"]
    assert "awaited_pod reason=Unschedulable" in output, "the log has it while the pod waits"
    assert driven.remains("first") == []


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("claim", "none", 'persistentvolumeclaim "none" not found'),
        ("secrets", "none", 'secret "none" not found'),
        ("ssh_secret", "none", 'secret "none" not found'),
        ("namespace", "elsewhere", "is forbidden: User"),
        ("priority_class", "none", "no PriorityClass with name none was found"),
    ],
)
def test_what_is_missing_is_refused_with_its_name(
    driven: Driven, setting: str, value: str, reason: str
) -> None:
    driven.config[setting] = value
    result, _ = driven("first")
    assert result["outcome"] == "refused"
    assert reason in result["reason"]
    assert driven.remains("first") == []


def test_a_registry_that_does_not_answer_is_waited_for(driven: Driven) -> None:
    driven.config["start_timeout"] = "0.3"
    result, output = driven("first", settings={"image": "127.0.0.1:9/convoy/data:1"})
    assert result["outcome"] == "failed"
    assert "the pod has not started in time: " in result["reason"]
    assert "connection refused" in result["reason"]
    assert "awaited_pod reason=" in output


def test_a_drained_node_stops_the_stage_and_the_retry_resumes_when_it_is_back(
    driven: Driven, cluster: Cluster
) -> None:
    work = params(driven.repository, waits=600)
    with driven.started("train@a", **work) as process:
        assert process.stdout is not None
        upto(process.stdout, "waiting")
        cluster.kubectl("drain", "node", "--ignore-daemonsets", "--force", "--delete-emptydir-data")
        result, _ = ended(process)
    try:
        assert result["outcome"] == "stopped"
        assert "drained" in result["reason"]
        # The retry waits for the node.
        with driven.started("train@a", **work) as process:
            assert process.stdout is not None
            upto(process.stdout, "unschedulable")
            cluster.kubectl("uncordon", "node")
            result, _ = ended(process)
    finally:
        cluster.kubectl("uncordon", "node")
    assert result["outcome"] == "ran", result
    output = driven.repository.shared / "cache"
    assert any(path.is_file() and b"resumed" in path.read_bytes() for path in output.rglob("*"))


def test_an_api_server_that_is_unreachable_for_half_a_minute_ends_nothing(
    driven: Driven, cluster: Cluster
) -> None:
    with driven.started("train@a", **params(driven.repository, waits=20)) as process:
        assert process.stdout is not None
        upto(process.stdout, "waiting")
        os.kill(cluster.apiserver, signal.SIGSTOP)
        timer = threading.Timer(30, os.kill, (cluster.apiserver, signal.SIGCONT))
        timer.start()
        try:
            result, _ = ended(process)
        finally:
            timer.cancel()
            os.kill(cluster.apiserver, signal.SIGCONT)
    assert result["outcome"] == "ran", result


def test_a_retry_waits_for_the_pod_of_an_earlier_try(driven: Driven, cluster: Cluster) -> None:
    """Airflow was killed and its pod was not: two of one task would write the same checkpoints."""
    work = params(driven.repository, waits=600)
    with driven.started("train@a", **work) as process:
        assert process.stdout is not None
        upto(process.stdout, "waiting")
        process.kill()
    assert len(cluster.pods()) == 1
    result, output = driven("train@a", **work)
    assert result["outcome"] == "ran", output
    assert cluster.pods_that_stay() == []


def test_two_pods_run_at_once_on_a_node_of_two_cores(driven: Driven, cluster: Cluster) -> None:
    def running() -> bool:
        pods = cluster.get("pods")["items"]
        return [pod["status"]["phase"] for pod in pods] == ["Running", "Running"]

    work = {"CONVOY_PARAMS": json.dumps({"base": 1, "models": {name: {"waits": 600} for name in "ab"}})}
    with driven.started("train@a", **work) as first, driven.started("train@b", **work) as second:
        wait_until(running, 120, "two running pods")
        for process in (first, second):
            process.send_signal(signal.SIGTERM)
        assert {ended(process)[0]["outcome"] for process in (first, second)} == {"stopped"}
    assert driven.remains("train@a") == []
