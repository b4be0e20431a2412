"""The network policy: what it allows a pod, and a stage that runs while packets are filtered by its ports.

The cluster has no network plug-in, so it enforces no policy. The filter here is this machine's iptables with
the policy's egress ports: it shows that they suffice for a stage, not that a plug-in selects the pods.
"""

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes import servers
from tests.kubernetes.cluster import NAMESPACE, Cluster
from tests.kubernetes.policy import allows
from tests.pipelines.driven import Driven, ended, params, upto

pytestmark = pytest.mark.slow
LOGIN = "robot:hunter2"
NEEDED = [("UDP", 53), ("TCP", 53), ("TCP", 443), ("TCP", 22), ("TCP", 5000)]
# PostgreSQL, Airflow, the kubelet, etcd, an engine, a cloud's metadata.
OTHERS = [5432, 8080, 10250, 2379, 2375, 80]
PROBE = """
import os, socket
for port in os.environ["PORTS"].split(","):
    try:
        socket.create_connection((os.environ["TARGET"], int(port)), timeout=3).close()
        print(f"port {port} answers", flush=True)
    except OSError:
        print(f"port {port} is blocked", flush=True)
"""


def test_the_policy_allows_a_running_stage_what_it_needs(driven: Driven, cluster: Cluster) -> None:
    policies = cluster.get("networkpolicies")["items"]
    with driven.started("train@a", **params(driven.repository, waits=600)) as process:
        assert process.stdout is not None
        upto(process.stdout, "waiting")
        (pod,) = cluster.get("pods")["items"]
        process.terminate()
        ended(process)
    assert all(allows(policies, "Egress", pod, port, protocol) for protocol, port in NEEDED)
    assert not any(allows(policies, "Egress", pod, port) for port in OTHERS)
    assert not any(allows(policies, "Ingress", pod, port) for _, port in NEEDED)
    # Ranks of a training connect to ports that the kernel chooses.
    for direction in ("Egress", "Ingress"):
        assert allows(policies, direction, pod, 45678, other=pod), "stages reach stages"
        assert not allows(policies, direction, pod, 45678, "UDP", other=pod)
        assert not allows(policies, direction, pod, 45678, other={"metadata": {"namespace": NAMESPACE}})


def test_a_stage_runs_behind_a_filter_of_the_policys_ports(
    driven: Driven, cluster: Cluster, tmp_path: Path
) -> None:
    repository = driven.repository
    repository.write("probe.py", PROBE)
    command = "python probe.py && python work.py first.json"
    repository.write("dvc.yaml", f"stages:\n  first:\n    cmd: {command}\n    outs: [out/first.json]\n")
    repository.commit()
    project = servers.bare(repository.root, tmp_path)
    (policy,) = cluster.get("networkpolicies")["items"]
    with (
        servers.git_over_https(cluster.host, tmp_path, LOGIN) as certificate,
        servers.mlflow(cluster.host, tmp_path),
        _listening(cluster.host, OTHERS[0]),
        _filtered(cluster.host, policy),
    ):
        trusted = repository.root.parent / "git.crt"
        shutil.copy(certificate, trusted)
        cluster.create_secret(
            "convoy-test", CONVOY_REPOSITORY=f"https://{LOGIN}@{servers.GIT_HOST}/{project.name}"
        )
        driven.config |= {"secrets": "convoy-test", "repository": ""}
        variables = {"CONVOY_REPOSITORY": "", "GIT_SSL_CAINFO": str(trusted)}
        # A name that the cluster's name service answers.
        variables |= {"TARGET": "postgresql.airflow.svc", "PORTS": f"5000,443,{OTHERS[0]}"}
        try:
            result, output = driven("first", **variables)
        finally:
            cluster.delete_secret("convoy-test")
    assert result["outcome"] == "ran", output
    assert "port 5000 answers" in output
    assert "port 443 answers" in output
    assert f"port {OTHERS[0]} is blocked" in output


@contextmanager
def _filtered(host: str, policy: dict[str, Any]) -> Iterator[None]:
    """Drop what pods send to this machine, but for the ports of a policy's one egress rule to any address."""
    (rule,) = [rule for rule in policy["spec"]["egress"] if "to" not in rule]
    network = f"{host}/24"
    allowed = [
        ["-p", port["protocol"].lower(), "--dport", str(port["port"]), "-j", "ACCEPT"]
        for port in rule["ports"]
    ]
    answers = ["-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"]
    # Not what this machine sends to itself: the API server calls the kubelet.
    from_pods = ["INPUT", "!", "-i", "lo", "-s", network, "-d", network]
    rules = [[*from_pods, *words] for words in (answers, *allowed, ["-j", "DROP"])]
    done: list[list[str]] = []
    try:
        for position, words in enumerate(rules, 1):
            chain, *match = words
            subprocess.run(["iptables", "--wait", "--insert", chain, str(position), *match], check=True)
            done.append(words)
        yield
    finally:
        for words in done:
            subprocess.run(["iptables", "--wait", "--delete", *words], check=True)


@contextmanager
def _listening(host: str, port: int) -> Iterator[None]:
    """Accept connections."""
    with socket.create_server((host, port)) as server:
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        yield


def _accept(server: socket.socket) -> None:
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return
