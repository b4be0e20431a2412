"""What the tests of the containers need around them."""

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip without a Docker engine."""
    try:
        subprocess.run(["docker", "info"], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no Docker engine is in reach; docker/with-engine.sh pytest tests/docker starts one")


@pytest.fixture(scope="session")
def base_image(engine: None) -> None:
    """Skip where the image that all others start from can be neither pulled nor made."""
    done = subprocess.run(["docker/base.sh"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr.strip())


@pytest.fixture(scope="session")
def image(base_image: None) -> str:
    """Build the data image, and return its name."""
    return build("data", ROOT, "convoy/data:test")


@pytest.fixture(scope="session")
def proxy_image(base_image: None) -> str:
    """Build the proxy's image, and return its name."""
    if not engine_socket():
        pytest.skip(f"the engine is at {os.environ['DOCKER_HOST']}, not at a socket")
    return build("proxy", ROOT, "convoy/proxy:test")


def build(target: str, context: Path, tag: str, *options: str) -> str:
    """Build a target of docker/'s Dockerfiles; returns the tag."""
    file = "stage" if target in ("code", "data") or target.startswith("train") else target
    return _build(context, tag, "--file", f"docker/{file}.Dockerfile", "--target", target, *options)


def build_postgres(tag: str) -> str:
    """Build the PostgreSQL that the tests' Airflow has; returns the tag."""
    return _build(ROOT, tag, "--file", "tests/docker/postgres.Dockerfile")


def _build(context: Path, tag: str, *options: str) -> str:
    done = subprocess.run(
        ["docker", "build", "--tag", tag, *options, "."],
        cwd=context,
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return tag


def docker(*words: str, **options: Any) -> str:
    """`docker WORDS` on the engine itself; returns its output. Raises CalledProcessError."""
    return subprocess.run(
        ["docker", *words], check=True, capture_output=True, text=True, **options
    ).stdout.strip()


def engine_socket() -> str:
    """The path of the engine's socket; empty where it is reached by another way."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    return host.removeprefix("unix://") if host.startswith("unix://") else ""


@dataclass(frozen=True)
class Proxy:
    """Where the proxy listens."""

    address: str
    container: str

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        """Send a request as it is written; return the status and the decoded answer."""
        connection = http.client.HTTPConnection(self.address, timeout=60)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(text) if text.startswith(b"{") else text.decode()

    def raw(self, text: bytes) -> bytes:
        """Send bytes, and return the first of the answer."""
        host, _, port = self.address.partition(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(text)
            return connection.recv(65536)


@contextmanager
def started_proxy(image: str, **settings: str) -> Iterator[Proxy]:
    """The proxy's container as compose.yaml has it, with settings that begin with CONVOY_."""
    words = ["run", "--detach", "--rm", "--read-only", "--cap-drop=ALL", "--publish=127.0.0.1::2375"]
    words += [f"--volume={engine_socket()}:/var/run/docker.sock"]
    words += [f"--env=CONVOY_{name}={value}" for name, value in settings.items()]
    container = docker(*words, image)
    try:
        proxy = Proxy(docker("port", container, "2375").split()[0], container)
        deadline = time.monotonic() + 60
        while True:
            try:
                if proxy.send("GET", "/_ping")[0] == 200:
                    break
            except (OSError, http.client.HTTPException):
                assert time.monotonic() < deadline, docker("logs", container)
                time.sleep(0.1)
        yield proxy
    finally:
        docker("rm", "--force", container)
