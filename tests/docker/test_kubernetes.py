import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pipelines.runners._pod import LABELS
from tests.docker.conftest import ROOT
from tests.kubernetes.policy import allows

FOLDER = ROOT / "docker" / "kubernetes"
KUSTOMIZATION = FOLDER / "kustomization.yaml"
VALUES = FOLDER / "airflow.yaml"
# A pod for the time that images are copied.
UPLOAD = FOLDER / "upload.yaml"
# Workers for the data stages, where they are wanted.
DASK = FOLDER / "dask.yaml"
# An account for an Airflow that runs elsewhere.
OUTSIDE = FOLDER / "outside.yaml"
MANIFESTS = sorted(set(FOLDER.glob("*.yaml")) - {KUSTOMIZATION, VALUES})


def _documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("version", ["1.25", "1.31", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_schema_allows_it(path: Path, version: str) -> None:
    for document in _documents(path):
        kubernetes_validate.validate(document, version, strict=True)


def test_kustomize_leaves_airflows_own_namespace_alone() -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed (Debian: apt-get install kubernetes-client)")
    done = subprocess.run(["kubectl", "kustomize", FOLDER], capture_output=True, text=True, check=True)
    applied = [document for document in yaml.safe_load_all(done.stdout) if document]
    (binding,) = (document for document in applied if document["kind"] == "RoleBinding")
    assert {subject["namespace"] for subject in binding["subjects"]} == {"airflow"}
    assert {document["metadata"].get("namespace", "convoy") for document in applied} == {"convoy"}


def test_the_network_policy_holds_stages_and_no_other_pod() -> None:
    (policy,) = _documents(FOLDER / "network.yaml")
    assert policy["spec"]["podSelector"]["matchLabels"] == LABELS


def test_the_network_policy_allows_a_stage_names_git_and_mlflow_alone() -> None:
    policies = _documents(FOLDER / "network.yaml")
    stage = {"metadata": {"namespace": "convoy", "labels": LABELS | {"convoy-stage": "train-lenet"}}}
    allowed = [port for port in range(1, 65536) if allows(policies, "Egress", stage, port)]
    assert allowed == [22, 53, 443, 5000]
    assert [port for port in range(1, 65536) if allows(policies, "Egress", stage, port, "UDP")] == [53]
    assert not any(allows(policies, "Ingress", stage, port) for port in range(1, 65536))
    for direction in ("Egress", "Ingress"):
        assert allows(policies, direction, stage, 45678, other=stage), "ranks of a training"
        elsewhere = {"metadata": {**stage["metadata"], "namespace": "airflow"}}
        assert not allows(policies, direction, stage, 45678, other=elsewhere)
    upload = _documents(UPLOAD)[0]
    assert allows(policies, "Egress", upload, 5432), "a pod of the namespace that is no stage is not limited"
    assert allows(policies, "Egress", {"metadata": {**stage["metadata"], "namespace": "airflow"}}, 5432)


def test_stages_and_workers_alone_reach_the_scheduler_of_dask() -> None:
    policies = _documents(FOLDER / "network.yaml")
    policies += [document for document in _documents(DASK) if document["kind"] == "NetworkPolicy"]
    part = "app.kubernetes.io/component"
    (policy,) = (document for document in policies if document["metadata"]["name"] == "dask")
    (rule,) = policy["spec"]["ingress"]
    (peer,) = rule["from"]
    (expression,) = peer["podSelector"]["matchExpressions"]
    assert expression == {"key": part, "operator": "In", "values": ["stage", "dask-scheduler", "dask-worker"]}
    pods = [document for document in _documents(DASK) if document["kind"] == "Deployment"]
    assert len(pods) == 2
    for pod in pods:
        labels = pod["spec"]["template"]["metadata"]["labels"]
        assert labels == pod["spec"]["selector"]["matchLabels"]
        assert labels[part] in expression["values"]
    (service,) = (document for document in _documents(DASK) if document["kind"] == "Service")
    assert service["spec"]["selector"][part] == "dask-scheduler"


@pytest.mark.parametrize(
    "words",
    [
        ("scheduler",),
        # What Airflow's Helm chart passes, and the names that its probes and jobs use.
        ("bash", "-c", "exec airflow scheduler"),
        ("airflow", "scheduler"),
    ],
)
def test_the_airflow_image_takes_components_and_the_charts_commands(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    program = tmp_path / "airflow"
    program.write_text(
        '#!/bin/sh\necho "$@" as ${AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS} ${ADMIN_PASSWORD-}\n'
    )
    program.chmod(0o755)
    variables = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "ADMIN_PASSWORD": "hunter2",
    }
    command = ["sh", str(ROOT / "docker" / "airflow.sh"), *words]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout == "scheduler as admin:admin\n"
    assert json.loads((tmp_path / "passwords.json").read_text(encoding="utf-8")) == {"admin": "hunter2"}


def test_two_stages_that_ask_for_nothing_fit_onto_a_node_of_two_cores() -> None:
    (limits,) = _documents(FOLDER / "limits.yaml")
    (container,) = limits["spec"]["limits"]
    assert container["defaultRequest"]["cpu"] == "500m"


def test_every_manifest_is_applied() -> None:
    resources = yaml.safe_load(KUSTOMIZATION.read_text(encoding="utf-8"))["resources"]
    assert {FOLDER / name for name in resources} == set(MANIFESTS) - {UPLOAD, DASK, OUTSIDE}


def test_airflow_may_run_pods_and_nothing_else() -> None:
    (role,) = (rights for rights in _documents(FOLDER / "rights.yaml") if rights["kind"] == "Role")
    resources = {resource for rule in role["rules"] for resource in rule["resources"]}
    verbs = {verb for rule in role["rules"] for verb in rule["verbs"]}
    assert resources == {"pods", "pods/log", "events"}
    assert verbs == {"create", "delete", "get", "list"}


def test_no_manifest_has_an_object_that_kubernetes_creates_itself() -> None:
    """Kubernetes creates `default` a moment after its namespace; `kubectl apply` failed in between."""
    documents = [document for path in MANIFESTS for document in _documents(path)]
    assert [document["kind"] for document in documents if document["metadata"]["name"] == "default"] == []
