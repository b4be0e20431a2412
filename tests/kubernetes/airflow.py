"""Airflow in a pod of its own namespace, with the variables of docker/kubernetes/airflow.yaml."""

import json
import secrets
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.docker.conftest import ROOT, build, build_postgres
from tests.kubernetes import servers
from tests.kubernetes.cluster import AIRFLOW, Cluster
from tests.pipelines.conftest import clone_working_tree
from tests.pipelines.e2e.client import Airflow, wait_until

VALUES = ROOT / "docker" / "kubernetes" / "airflow.yaml"
SECONDS_TO_START = 900


def started(cluster: Cluster, **settings: str) -> Airflow:
    """Build the images, start the pod, and wait for Airflow's pages.

    Args:
        cluster: Where it runs, with the rights of the manifests.
        settings: Variables that differ from airflow.yaml's.

    Returns:
        A client that is logged in.
    """
    build("airflow", ROOT, cluster.images.format(target="airflow"))
    postgres = build_postgres(f"{cluster.registry}/convoy/postgres:test")
    password = secrets.token_hex(16)
    manifest = _pod(cluster, postgres, password, settings)
    cluster.kubectl("apply", "--filename", "-", text=json.dumps(manifest))

    def address() -> str:
        words = ("--namespace", AIRFLOW[0], "get", "pod", "airflow", "--output", "jsonpath={.status.podIP}")
        return cluster.kubectl(*words)

    url = f"http://{wait_until(address, 60, 'an address of the pod')}:8080"
    health = f"{url}/api/v2/monitor/health"

    def healthy() -> bool:
        done = subprocess.run(
            ["curl", "--silent", "--max-time", "5", health], capture_output=True, check=False
        )
        return b'"scheduler":{"status":"healthy"' in done.stdout and _has_dags(url, password)

    wait_until(healthy, SECONDS_TO_START, "the start of Airflow")
    return Airflow(url, password)


def settings_of_the_chart() -> dict[str, str]:
    """The variables of airflow.yaml."""
    values = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    return {item["name"]: item["value"] for item in values["env"]}


def _has_dags(url: str, password: str) -> bool:
    return any(dag["dag_id"] == "train" for dag in Airflow(url, password).ask("GET", "dags")["dags"])


def _pod(cluster: Cluster, postgres: str, password: str, settings: dict[str, str]) -> dict[str, Any]:
    """All of Airflow in one container, and its database beside it."""
    variables = settings_of_the_chart() | {
        "ADMIN_PASSWORD": password,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://airflow@127.0.0.1/airflow",
        "PGPASSWORD": password,
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__API__SECRET_KEY": password,
        "AIRFLOW__API_AUTH__JWT_SECRET": password * 2,
        "AIRFLOW__API__WORKERS": "1",
        # A busy machine's scheduler would take itself for dead, and its tasks for lost.
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "3600",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "30",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
        **settings,
    }
    script = (ROOT / "docker" / "postgres.sh").read_text(encoding="utf-8")
    database = {
        "name": "postgres",
        "image": postgres,
        "command": [
            "bash",
            "-c",
            f"cat >/docker-entrypoint-initdb.d/convoy.sh <<'END'\n{script}\nEND\nexec start.sh",
        ],
        "env": [{"name": "POSTGRES_PASSWORD", "value": password}],
    }
    wait = "until (echo >/dev/tcp/127.0.0.1/5432) 2>/dev/null; do sleep 0.5; done"
    airflow = {
        "name": "airflow",
        "image": cluster.images.format(target="airflow"),
        "command": ["tini", "--", "bash", "-c", f"{wait}; exec airflow.sh standalone"],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
    }
    namespace, account = AIRFLOW
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "airflow", "namespace": namespace},
        "spec": {
            "serviceAccountName": account,
            "containers": [database, airflow],
            # Tasks that have just started need no longer grace in a test.
            "terminationGracePeriodSeconds": 1,
        },
    }


def project(folder: Path) -> Path:
    """A bare repository of this working tree's files, on a branch `main`."""
    clone_working_tree(folder / "work")
    return servers.bare(folder / "work", folder)
