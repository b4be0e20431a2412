"""A host with a proxy before a real engine."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pipelines.proxy import spec
from tests.docker.conftest import Proxy, docker, started_proxy

TINY = "convoy/tiny:test"
# An image whose worker is the script in the variable SCRIPT.
DOCKERFILE = r"""
FROM debian:bookworm-slim
RUN printf '#!/bin/sh\nexec sh -c "$SCRIPT"\n' >/usr/local/bin/python && chmod 755 /usr/local/bin/python
RUN mkdir -p /home/convoy && chmod 1777 /home/convoy
"""
SECRET = "the-password-of-the-database"


class House:
    """A host with a proxy, a repository, a shared folder, and a service whose variables are secret."""

    def __init__(self, proxy: Proxy, root: Path, network: str, victim: str) -> None:
        self.proxy, self.root, self.network, self.victim = proxy, root, network, victim

    def container(self, script: str = "true") -> spec.Container:
        """What the docker runner asks for."""
        return spec.Container(
            image=TINY,
            run="run-1",
            user=f"{os.getuid()}:{os.getgid()}",
            network=self.network,
            variables=(f"SCRIPT={script}",),
            folders={str(self.root / "repository" / ".git"): False, str(self.root / "home"): True},
            memory=64 << 20,
            nano_cpus=5 * 10**8,
        )

    def create(self, body: str | dict[str, Any], name: str = "", prefix: str = "/v1.41") -> tuple[int, Any]:
        """Send a create request as it is written."""
        text = body if isinstance(body, str) else json.dumps(body)
        name = name or f"convoy-{uuid4().hex}"
        return self.proxy.send("POST", f"{prefix}/containers/create?name={name}", text.encode())

    def created(self, script: str) -> str:
        """Create a container that is allowed; return its id."""
        status, answer = self.create(spec.request(self.container(script)))
        assert status == 201, answer
        return str(answer["Id"])

    def inspected(self, container: str) -> dict[str, Any]:
        """What the engine itself knows of a container."""
        shown: dict[str, Any] = json.loads(docker("inspect", container))[0]
        return shown


@pytest.fixture(scope="module")
def house(proxy_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    root, stack = tmp_path_factory.mktemp("house"), f"test-{uuid4().hex[:8]}"
    (root / "home").mkdir()
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(root / "repository")], check=True)
    (root / "repository" / ".git" / "refs" / "exps").mkdir()
    (root / "repository" / "datasets").mkdir()
    docker("build", "--tag", TINY, "-", input=DOCKERFILE, env={**os.environ, "DOCKER_BUILDKIT": "0"})
    network = docker("network", "create", f"convoy-{uuid4().hex[:8]}")
    victim = docker("run", "--detach", f"--env=PASSWORD={SECRET}", TINY, "sleep", "1000")
    try:
        with started_proxy(
            proxy_image,
            HOME=str(root / "home"),
            REPOSITORY=str(root / "repository"),
            DATA=str(root / "repository" / "datasets"),
            UID=str(os.getuid()),
            GID=str(os.getgid()),
            DOCKER_NETWORK=network,
            STACK=stack,
            IMAGES=TINY,
            UNATTENDED="4",
        ) as proxy:
            yield House(proxy, root, network, victim)
    finally:
        ours = docker("ps", "--all", "--quiet", "--filter", f"label={spec.STACK_LABEL}={stack}").split()
        docker("rm", "--force", "--volumes", victim, *ours)
        docker("network", "rm", network)
