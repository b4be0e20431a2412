"""The kubernetes runner's pod against Kubernetes' schema, and what it has."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from pipelines.graph import Settings
from tests.pipelines.driven import ended
from tests.pipelines.kubernetes_work import VARIABLES, started

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("airflow_environment")]


def pod_of(**options: Any) -> dict[str, Any]:
    """The pod of one work, checked against the schemas of an old Kubernetes and the newest that there is."""
    with started(Path("/nowhere"), only_shown=True, **options) as process:
        pod, _ = ended(process)
    for version in ("1.25", kubernetes_validate.latest_version()):
        kubernetes_validate.validate(pod, version, strict=True)
    return pod


def test_a_pod_has_what_the_stage_and_the_run_ask_for() -> None:
    stage_of_a_run = Settings(image="train", cpu=2, memory="4Gi", gpu=1).with_gpus(3)
    pod = pod_of(settings=asdict(stage_of_a_run))
    (stage,) = pod["spec"]["containers"]
    assert pod["metadata"]["namespace"] == "convoy"
    assert pod["metadata"]["name"] == "convoy-train-one-train-lenet"
    assert pod["metadata"]["labels"]["convoy-run"] == "train-one"
    assert stage["image"] == "registry.example.com/convoy/train-gpu:1"
    assert stage["resources"]["requests"] == {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "3"}
    assert stage["resources"]["limits"] == {"memory": "4Gi", "nvidia.com/gpu": "3"}


def test_a_pod_meets_the_restricted_standard_with_one_container() -> None:
    spec = pod_of()["spec"]
    # With runAsNonRoot, a cluster refuses Airflow's sidecar for results, which runs as root.
    (stage,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 1000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert stage["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert stage["securityContext"]["allowPrivilegeEscalation"] is False
    assert stage["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is False
    assert stage["resources"]["limits"] == {"memory": "8Gi"}
    # The image's entry point stays: tini passes signals on.
    assert "command" not in stage
    assert stage["args"] == ["python", "-m", "pipelines.worker"]


def test_threads_have_room_and_the_clone_is_beside_the_cache() -> None:
    spec = pod_of()["spec"]
    (stage,) = spec["containers"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    paths = {mount["mountPath"]: volumes[mount["name"]] for mount in stage["volumeMounts"]}
    assert paths["/dev/shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
    assert paths["/convoy"]["persistentVolumeClaim"]["claimName"] == "convoy"
    variables = {variable["name"]: variable["value"] for variable in stage["env"]}
    assert variables["CONVOY_WORK"] == "/convoy/state/work"
    assert "CONVOY_REMOTE" not in variables, "an empty value would hide that of a Secret"


def test_a_pod_ends_by_itself_after_its_tasks_timeout() -> None:
    spec = pod_of(settings={"timeout": 90}, config={"start_timeout": "0.5"})["spec"]
    assert spec["activeDeadlineSeconds"] == 90 * 60 + 30


def test_without_a_claim_the_clone_is_in_the_pod() -> None:
    (stage,) = pod_of(config={"claim": ""})["spec"]["containers"]
    assert {"name": "CONVOY_WORK", "value": ""} in stage["env"]


def test_where_pods_run_and_what_they_are_pulled_with_can_be_set() -> None:
    tolerations = [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    spec = pod_of(
        config={
            "pull_secrets": "registry,other",
            "node_selector": "pool=gpu,disk=ssd",
            "tolerations": json.dumps(tolerations),
            "priority_class": "batch",
        }
    )["spec"]
    assert spec["imagePullSecrets"] == [{"name": "registry"}, {"name": "other"}]
    assert spec["nodeSelector"] == {"pool": "gpu", "disk": "ssd"}
    assert spec["tolerations"] == tolerations
    assert spec["priorityClassName"] == "batch"


def test_logins_come_from_secrets() -> None:
    spec = pod_of(config={"secrets": "mlflow, git", "ssh_secret": "deploy-key"})["spec"]
    (stage,) = spec["containers"]
    assert [source["secretRef"]["name"] for source in stage["envFrom"]] == ["mlflow", "git"]
    variables = {variable["name"]: variable["value"] for variable in stage["env"]}
    assert "ssh-privatekey" in variables["GIT_SSH_COMMAND"]
    assert any(volume.get("secret", {}).get("secretName") == "deploy-key" for volume in spec["volumes"])


@pytest.mark.parametrize(
    "address", ["ssh://git@git.example.com/team/project.git", "git@git.example.com:p.git"]
)
def test_the_user_of_an_address_over_ssh_is_no_password(address: str) -> None:
    (stage,) = pod_of(variables=VARIABLES | {"CONVOY_REPOSITORY": address})["spec"]["containers"]
    assert {"name": "CONVOY_REPOSITORY", "value": address} in stage["env"]


def test_long_names_and_names_that_differ_in_capitals_are_pods_of_their_own() -> None:
    long = "convoy-scheduled-2026-11-26T02-00-00-00-00-train-minivggnet-with-a-long-name-"
    names = [f"{long}a", f"{long}b", "convoy-Run-train-lenet", "convoy-run-train-lenet"]
    pods = {pod_of(name=name)["metadata"]["name"] for name in names}
    assert len(pods) == len(names)
    assert max(map(len, pods)) <= 63


def test_a_pod_is_selected_by_its_stage_and_a_long_name_keeps_it() -> None:
    name = "convoy-train-2026-11-26T05-47-54-862664-00-00-train-lenet"
    pod = pod_of(name=name, variables=VARIABLES | {"CONVOY_STAGE": "train@lenet"})["metadata"]
    assert re.fullmatch(r"convoy-train-\S*-00-00-train-lenet-[0-9a-f]{8}", pod["name"])
    assert pod["labels"]["convoy-stage"] == "train-lenet"
    assert pod_of()["metadata"]["labels"]["convoy-stage"] == "stage"
