"""A stage's pod, as Kubernetes takes it: a dictionary that its schema can check."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from pipelines.config import Config
from pipelines.proxy.spec import bytes_of
from pipelines.runners import COMMAND, Work
from pipelines.runners._images import image
from pipelines.worker.lines import has_login

CONTAINER = "stage"
# docker/kubernetes/network.yaml selects stages by these, and no other pod of the namespace.
LABELS = {"app.kubernetes.io/part-of": "convoy", "app.kubernetes.io/component": "stage"}
_SSH = "/etc/convoy-ssh"
_SSH_USER = re.compile(r"ssh://[^/:@\s]+@")
_SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|_KEY$|CREDENTIAL")
# The worker gives its stage ten seconds to write a checkpoint.
_SECONDS_TO_STOP = 30


def manifest(config: Config, work: Work) -> dict[str, Any]:
    """Build the pod of a work.

    Args:
        config: Namespace, claim, and what a pod has besides.
        work: What to run.

    Returns:
        The pod. It meets Kubernetes' `restricted` standard: an ordinary user, a read-only root, no
        capabilities, no token of the cluster.

    Raises:
        ValueError: A setting or the stage's `memory` is wrong, or a password would be readable in the pod.
    """
    volumes = _volumes(config)
    # The image's own entry point stays: tini passes signals on and reaps what a killed stage leaves.
    container = {
        "name": CONTAINER,
        "image": image(config, work.settings.image, work.settings.gpu),
        "args": ["python", *COMMAND],
        "env": [{"name": name, "value": value} for name, value in _variables(config, work).items()],
        "envFrom": [{"secretRef": {"name": name}} for name in _names(config.secrets)],
        "resources": _resources(config, work),
        "volumeMounts": [{"name": name, "mountPath": path} for name, path, _ in volumes],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(work.name),
            "namespace": config.namespace,
            "labels": LABELS | _labels(work),
        },
        "spec": {
            "containers": [container],
            "volumes": [{"name": name, **source} for name, _, source in volumes],
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": _SECONDS_TO_STOP,
            # After the task's own timeout: Airflow may be gone, and nothing else ends a stage that hangs.
            "activeDeadlineSeconds": math.ceil(60 * (work.settings.timeout + float(config.start_timeout))),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "fsGroup": 1000,
                # Otherwise each pod changes the owner of every file of the claim before it starts.
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **_placement(config),
        },
    }


def pod_name(text: str) -> str:
    """A name and label that Kubernetes allows: at most 63 of a-z, 0-9 and dashes inside.

    A text that has to change gets a digest: two works that differ in capitals, or in their midst, are two
    pods. A long one keeps its end, which names the stage.
    """
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if name == text and len(name) <= 63:
        return name
    if len(name) > 54:
        name = f"{name[:12].rstrip('-')}-{name[-40:].lstrip('-')}"
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _labels(work: Work) -> dict[str, str]:
    """What people select pods by: `kubectl get pods --selector convoy-stage=train-lenet`."""
    stage = work.variables.get("CONVOY_STAGE") or work.variables["CONVOY_ACTION"]
    return {
        "convoy-run": pod_name(work.variables["CONVOY_RUN"]),
        "convoy-stage": pod_name(stage.replace("@", "-")),
    }


def memory_limit(config: Config, work: Work) -> str:
    """The memory limit as Kubernetes writes it: `8Gi`. Raises ValueError where it is no amount."""
    limit = work.settings.memory or config.memory
    bytes_of(limit)
    return limit


def _variables(config: Config, work: Work) -> dict[str, str]:
    variables = {name: value for name, value in work.variables.items() if value}
    # A clone beside the cache, on the claim: files are linked. Without a claim, in the pod's own /tmp.
    variables |= {
        "CONVOY_RESULT": "-",
        "CONVOY_WORK": variables.get("CONVOY_WORK", "") if config.claim else "",
    }
    if config.ssh_secret:
        options = (
            f"-o UserKnownHostsFile={_SSH}/known_hosts -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
        )
        variables["GIT_SSH_COMMAND"] = f"ssh -i {_SSH}/ssh-privatekey {options}"
    _check_unreadable(variables)
    return variables


def _check_unreadable(variables: Mapping[str, str]) -> None:
    """Raise ValueError for a variable with a password: who may list pods can read it."""
    for name, value in variables.items():
        # Over SSH a user alone is no secret; over HTTPS it may be a token.
        if _SECRET.search(name) or has_login(_SSH_USER.sub("ssh://", value)):
            hint = "put it into a Secret that CONVOY_SECRETS names, and leave it empty here"
            if name in ("CONVOY_OVERRIDES", "CONVOY_PARAMS"):
                hint = "an address among the params has no user and password"
            raise ValueError(f"{name} would be readable in the pod's specification: {hint}")


def _resources(config: Config, work: Work) -> dict[str, dict[str, str]]:
    limits = work.settings
    gpus = {"nvidia.com/gpu": str(limits.gpu)} if limits.gpu else {}
    cpu = {"cpu": f"{limits.cpu:g}"} if limits.cpu else {}
    # What names no memory asks for what limits.yaml says, and may take the default limit.
    memory = {"memory": limits.memory} if limits.memory else {}
    # Memory over the limit kills the pod; a limit on processors would only slow it down.
    return {"requests": cpu | memory | gpus, "limits": {"memory": memory_limit(config, work)} | gpus}


def _volumes(config: Config) -> list[tuple[str, str, dict[str, Any]]]:
    """Name, path and source of each volume."""
    volumes: list[tuple[str, str, dict[str, Any]]] = [
        # TensorFlow and OpenCV put threads' buffers there; the default is 64 MiB.
        ("shm", "/dev/shm", {"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}),  # noqa: S108
        ("tmp", "/tmp", {"emptyDir": {}}),  # noqa: S108
        ("home", "/home/convoy", {"emptyDir": {}}),
    ]
    if config.claim:
        volumes.append(("convoy", "/convoy", {"persistentVolumeClaim": {"claimName": config.claim}}))
    if config.ssh_secret:
        secret = {"secretName": config.ssh_secret, "defaultMode": 0o440}
        volumes.append(("ssh", _SSH, {"secret": secret}))
    return volumes


def _placement(config: Config) -> dict[str, Any]:
    """Where pods run, and what their images are pulled with."""
    labels = dict(label.partition("=")[::2] for label in _names(config.node_selector))
    if wrong := [name for name, value in labels.items() if not value]:
        raise ValueError(f"CONVOY_NODE_SELECTOR has {wrong[0]}; must be NAME=VALUE, with commas")
    try:
        tolerations = json.loads(config.tolerations or "[]")
    except ValueError as error:
        raise ValueError(f"CONVOY_TOLERATIONS is no JSON: {error}") from None
    placement = {
        "imagePullSecrets": [{"name": name} for name in _names(config.pull_secrets)],
        "nodeSelector": labels,
        "tolerations": tolerations,
        "priorityClassName": config.priority_class,
    }
    return {key: value for key, value in placement.items() if value}


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
