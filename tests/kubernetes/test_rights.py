"""What the manifests allow Airflow and stages, asked of the API server."""

import re

import pytest

from tests.kubernetes.cluster import NAMESPACE, Cluster
from tests.paths import ROOT
from tests.pipelines.driven import Driven

pytestmark = pytest.mark.slow
# In the namespace of the stages.
ALLOWED = [("create", "pods"), ("get", "pods"), ("delete", "pods"), ("get", "pods/log"), ("list", "events")]
DENIED = [
    ("list", "pods", NAMESPACE),
    ("create", "pods/exec", NAMESPACE),
    ("get", "secrets", NAMESPACE),
    ("create", "serviceaccounts", NAMESPACE),
    ("delete", "persistentvolumeclaims", NAMESPACE),
    ("create", "pods", "airflow"),
    ("create", "pods", "default"),
    ("get", "secrets", "kube-system"),
    ("get", "nodes", ""),
]


@pytest.mark.parametrize(("verb", "resource"), ALLOWED)
def test_airflow_may_run_pods(cluster: Cluster, verb: str, resource: str) -> None:
    assert cluster.can(verb, resource) == "yes"


@pytest.mark.parametrize(("verb", "resource", "namespace"), DENIED)
def test_airflow_may_nothing_else(cluster: Cluster, verb: str, resource: str, namespace: str) -> None:
    assert cluster.can(verb, resource, namespace) == "no"


def test_the_manifests_can_be_applied_again(cluster: Cluster) -> None:
    output = cluster.kubectl("apply", "--kustomize", str(ROOT / "docker" / "kubernetes"))
    assert {line.rpartition(" ")[2] for line in output.splitlines()} <= {"unchanged", "configured"}
    assert cluster.get("persistentvolumeclaim", "convoy")["status"]["phase"] == "Bound"


def test_a_stage_is_an_ordinary_user_without_a_token_and_cannot_write_to_its_root(driven: Driven) -> None:
    commands = [
        "id",
        "grep NoNewPrivs: /proc/self/status",
        "grep CapBnd: /proc/self/status",
        "echo shared memory of $(df --block-size 1M --output=size /dev/shm | tail -1) MiB",
        "ls /var/run/secrets/kubernetes.io 2>&1 || true",
        "touch /opt/convoy/new 2>&1 || true",
        "ps -p 1 -o comm= || cat /proc/1/comm",
    ]
    shown = " && ".join(commands)
    driven.repository.write(
        "dvc.yaml", f"stages:\n  show:\n    cmd: >-\n      {shown}\n    always_changed: true\n"
    )
    driven.repository.commit()
    result, output = driven("show")
    assert result["outcome"] == "ran", output
    assert "uid=1000(convoy) gid=1000(convoy)" in output
    assert "NoNewPrivs:\t1" in output
    assert "CapBnd:\t0000000000000000" in output
    shared = re.search(r"^shared memory of (\d+) MiB", output, re.MULTILINE)
    # A cluster before 1.22 ignores the limit and allows half of the node's memory.
    assert shared is not None
    assert int(shared[1]) >= 1024, "threads' buffers have more than 64 MiB"
    assert "cannot access '/var/run/secrets/kubernetes.io'" in output
    assert "Read-only file system" in output
    assert "\ntini\n" in output
