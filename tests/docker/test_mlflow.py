"""The image of MLflow's server stores artifacts in S3."""

import base64
import time
import urllib.request
from pathlib import Path

import pytest

from tests.docker.conftest import ROOT, build, docker
from tests.kubernetes import servers

pytestmark = pytest.mark.slow

PASSWORD = "of the user admin"
STORE = {
    "MLFLOW_DATABASE": "sqlite:////tmp/mlflow.db",
    "MLFLOW_USERS_DATABASE": "sqlite:////tmp/users.db",
    "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key",
    "MLFLOW_ALLOWED_HOSTS": "127.0.0.1:*",
    "MLFLOW_ARTIFACTS": "s3://convoy/artifacts",
    "AWS_ACCESS_KEY_ID": "robot",
    "AWS_SECRET_ACCESS_KEY": "hunter2",
}


def test_artifacts_go_to_s3_from_a_read_only_container(base_image: None, tmp_path: Path) -> None:
    image = build("mlflow", ROOT, "convoy/mlflow:test")
    host = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    with servers.s3(host, tmp_path) as store:
        variables = STORE | {"MLFLOW_S3_ENDPOINT_URL": store}
        words = ["--read-only", "--cap-drop=ALL", "--tmpfs=/tmp", "--tmpfs=/home/mlflow:uid=1000"]
        words += [
            "--publish=127.0.0.1::5000",
            *(f"--env={name}={value}" for name, value in variables.items()),
        ]
        container = docker("run", "--detach", *words, image)
        try:
            address = f"http://{docker('port', container, '5000').split()[0]}"
            artifact = f"{address}/api/2.0/mlflow-artifacts/artifacts/1/model.bin"
            _wait(container, address)
            _ask(artifact, b"weights")
            assert _ask(f"{store}/convoy/artifacts/1/model.bin") == b"weights"
            assert _ask(artifact) == b"weights"
            assert "hunter2" not in docker("logs", container)
        finally:
            docker("rm", "--force", container)


def _wait(container: str, address: str) -> None:
    deadline = time.monotonic() + 300
    while True:
        try:
            _ask(f"{address}/health")
            return
        except OSError:
            assert time.monotonic() < deadline, docker("logs", container)
            time.sleep(0.5)


def _ask(address: str, body: bytes | None = None) -> bytes:
    """GET, or PUT with a body, as MLflow's admin."""
    login = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(address, body, method="PUT" if body else "GET")
    request.add_header("Authorization", f"Basic {login}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        text: bytes = answer.read()
        return text
