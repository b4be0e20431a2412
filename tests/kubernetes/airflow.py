"""Airflow as its Helm chart starts it with the values of docker/kubernetes/airflow.yaml.

Neither Helm nor the chart is in a registry within reach. What the chart makes of the values is written down
here, after its values.yaml and templates (apache/airflow at d6ba4817, Airflow 3.1.3): arguments for the entry
point, probes, users, variables, a mounted airflow.cfg. Its pods are one here, as this cluster has no service
addresses.
"""

import json
import secrets
import socket
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.docker.conftest import build_postgres
from tests.dvc_clone import clone_working_tree
from tests.kubernetes import servers
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.page import Release
from tests.paths import ROOT
from tests.pipelines.e2e.client import Airflow, wait_until

SECONDS_TO_START = 900
# Names of Airflow's commands, and of the values about them.
COMPONENTS = {
    "api-server": "apiServer",
    "scheduler": "scheduler",
    "dag-processor": "dagProcessor",
    "triggerer": "triggerer",
}
MIGRATE = ["bash", "-c", "exec \\\nairflow db migrate"]
AWAIT_MIGRATIONS = ["airflow", "db", "check-migrations", "--migration-wait-timeout=60"]
IS_ALIVE = """CONNECTION_CHECK_MAX_COUNT=0 AIRFLOW__LOGGING__LOGGING_LEVEL=ERROR exec /entrypoint \\
airflow jobs check --job-type SchedulerJob --local"""
# A busy machine's scheduler would take itself for dead, and its tasks for lost.
PATIENCE = {
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "3600",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "30",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
}


def started(cluster: Cluster, release: Release, password: str) -> Airflow:
    """Start what Helm would, and wait for Airflow's pages.

    Args:
        cluster: Where it runs, with the rights of the manifests.
        release: What the page has Helm install.
        password: The one that the page's Secret has.

    Returns:
        A client that is logged in.
    """
    values = yaml.safe_load(release.values.read_text(encoding="utf-8"))
    database = _database(cluster, release, values["data"]["metadataConnection"]["protocol"])
    for manifest in (_config(release, values), _pod(release, values, database)):
        cluster.kubectl("apply", "--filename", "-", text=json.dumps(manifest))
    url = f"http://{_address(cluster, release, release.name)}:8080"
    health = f"{url}/api/v2/monitor/health"

    def healthy() -> bool:
        done = subprocess.run(
            ["curl", "--silent", "--max-time", "5", health], capture_output=True, check=False
        )
        return b'"scheduler":{"status":"healthy"' in done.stdout and _has_dags(url, password)

    wait_until(healthy, SECONDS_TO_START, "the start of Airflow")
    return Airflow(url, password)


def removed(cluster: Cluster, release: Release) -> None:
    """Remove what `started` has started."""
    cluster.kubectl("--namespace", release.namespace, "delete", "pods", "--all")


def project(folder: Path) -> Path:
    """A bare repository of this working tree's files, on a branch `main`; the clone beside it is `work`."""
    clone_working_tree(folder / "work")
    return servers.bare(folder / "work", folder)


def _address(cluster: Cluster, release: Release, pod: str) -> str:
    words = ("--namespace", release.namespace, "get", "pod", pod, "--output", "jsonpath={.status.podIP}")
    return str(wait_until(lambda: cluster.kubectl(*words), 120, f"an address of {pod}"))


def _has_dags(url: str, password: str) -> bool:
    return any(dag["dag_id"] == "train" for dag in Airflow(url, password).ask("GET", "dags")["dags"])


def _database(cluster: Cluster, release: Release, protocol: str) -> str:
    """Start PostgreSQL; returns its URL as the chart writes it: with a superuser."""
    image = build_postgres(f"{cluster.registry}/convoy/postgres:test")
    script = (ROOT / "docker" / "postgres.sh").read_text(encoding="utf-8")
    setup = f"cat >/docker-entrypoint-initdb.d/convoy.sh <<'END'\n{script}\nEND\nexec start.sh"
    password = secrets.token_hex(16)
    container = {
        "name": "postgresql",
        "image": image,
        "command": ["bash", "-c", setup],
        "env": [{"name": "POSTGRES_PASSWORD", "value": password}],
    }
    pod = _manifest(release, "postgresql", {"containers": [container], "terminationGracePeriodSeconds": 1})
    cluster.kubectl("apply", "--filename", "-", text=json.dumps(pod))
    address = _address(cluster, release, "postgresql")

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((address, 5432)) == 0

    wait_until(listens, 300, "PostgreSQL")
    return f"{protocol}://postgres:{password}@{address}:5432/airflow?sslmode=disable"


def _config(release: Release, values: dict[str, Any]) -> dict[str, Any]:
    """airflow.cfg with the chart's defaults below the values' `config`."""
    sections: dict[str, dict[str, Any]] = {
        "core": {
            "dags_folder": f"{values['airflowHome']}/dags",
            "executor": values["executor"],
            "auth_manager": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
            "execution_api_server_url": "http://127.0.0.1:8080/execution/",
        },
        "metrics": {"statsd_on": str(values["statsd"]["enabled"]), "statsd_host": f"{release.name}-statsd"},
        "scheduler": {"standalone_dag_processor": "True"},
    }
    for section, entries in values["config"].items():
        sections.setdefault(section, {}).update(entries)
    lines = [
        line
        for section, entries in sections.items()
        for line in (f"[{section}]", *(f"{key} = {value}" for key, value in entries.items()))
    ]
    data = {"airflow.cfg": "\n".join(lines) + "\n"}
    metadata = {"name": f"{release.name}-config", "namespace": release.namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _pod(release: Release, values: dict[str, Any], database: str) -> dict[str, Any]:
    secret_key = secrets.token_hex(32)
    built_in = PATIENCE | {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__API__SECRET_KEY": secret_key,
        "AIRFLOW__API_AUTH__JWT_SECRET": secret_key,
        # Of a name of the chart's service.
        "CONVOY_AIRFLOW_API": "http://127.0.0.1:8080",
    }
    environment = [item for item in values["env"] if item["name"] not in built_in]
    environment += [{"name": name, "value": value} for name, value in built_in.items()]
    for item in values["secret"]:
        reference = {"name": item["secretName"], "key": item["secretKey"]}
        environment.append({"name": item["envName"], "valueFrom": {"secretKeyRef": reference}})
    image = values["images"]["airflow"]
    home = values["airflowHome"]

    def container(name: str, arguments: list[str], component: str = "scheduler") -> dict[str, Any]:
        return {
            "name": name,
            "image": f"{image['repository']}:{image['tag']}",
            "args": arguments,
            "env": [*environment, *values[component].get("env", [])],
            "resources": values[component]["resources"],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [
                {"name": "logs", "mountPath": f"{home}/logs"},
                {"name": "config", "mountPath": f"{home}/airflow.cfg", "subPath": "airflow.cfg"},
            ],
        }

    containers = {
        name: container(name, ["bash", "-c", f"exec airflow {name}"], key) for name, key in COMPONENTS.items()
    }
    containers["scheduler"]["startupProbe"] = {
        "exec": {"command": ["sh", "-c", IS_ALIVE]},
        "periodSeconds": 10,
        **values["scheduler"]["startupProbe"],
    }
    spec = {
        # The name that the chart gives to the scheduler's account, which runs the tasks.
        "serviceAccountName": f"{release.name}-scheduler",
        "securityContext": {"runAsUser": values["uid"], "fsGroup": values["gid"]},
        "initContainers": [
            container("run-airflow-migrations", MIGRATE),
            container("wait-for-airflow-migrations", AWAIT_MIGRATIONS),
        ],
        "containers": [*containers.values()],
        "volumes": [
            {"name": "logs", "emptyDir": {}},
            {"name": "config", "configMap": {"name": f"{release.name}-config"}},
        ],
        # Tasks that have just started need no longer grace in a test.
        "terminationGracePeriodSeconds": 1,
    }
    return _manifest(release, release.name, spec)


def _manifest(release: Release, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": release.namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
