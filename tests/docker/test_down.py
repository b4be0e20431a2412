"""`make down` on a real engine: with Dask's services and stages beside the services, and other containers."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.docker.conftest import ROOT, docker

pytestmark = pytest.mark.slow

# A process of the number 1 ignores SIGTERM.
SERVICE = """
services:
  {name}: {{image: "debian:bookworm-slim", command: [sleep, "1000"], stop_signal: SIGKILL, networks: [tasks]}}
"""
NETWORK = """
networks:
  tasks: {name: "${COMPOSE_PROJECT_NAME}_tasks"}
"""


class Project:
    """A copy of docker/ whose services sleep, with a name of its own on the engine."""

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, f"convoy-test-{uuid4().hex[:8]}"

    def ran(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy."""
        env = str(self.root / "convoy.env")
        environment = {**os.environ, "COMPOSE_PROJECT_NAME": self.name, "CONVOY_ENV": env}
        return subprocess.run(
            words, cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )

    def stage(self, stack: str, network: str) -> str:
        """Start what the engine runs for a stage; returns its id."""
        words = ["--stop-signal=SIGKILL", f"--label=org.convoy.stack={stack}", f"--network={network}"]
        return docker("run", "--detach", *words, "debian:bookworm-slim", "sleep", "1000")


@pytest.fixture
def project(base_image: None, tmp_path: Path) -> Iterator[Project]:
    folder = tmp_path / "docker"
    shutil.copytree(ROOT / "docker", folder, ignore=shutil.ignore_patterns(".env*"))
    shutil.copy(ROOT / "Makefile", tmp_path)
    (folder / "compose.yaml").write_text(SERVICE.format(name="scheduler") + NETWORK, encoding="utf-8")
    (folder / "compose.dask.yaml").write_text(SERVICE.format(name="dask-worker"), encoding="utf-8")
    (tmp_path / "convoy.env").touch()
    project = Project(tmp_path)
    yield project
    for label in ("com.docker.compose.project", "org.convoy.stack"):
        if containers := docker(
            "ps", "--all", "--quiet", "--filter", f"label={label}={project.name}"
        ).split():
            docker("rm", "--force", *containers)
    docker("network", "prune", "--force", "--filter", f"label=com.docker.compose.project={project.name}")


def test_down_stops_dasks_services_and_stages_too(project: Project) -> None:
    both = ["--file", "compose.yaml", "--file", "compose.dask.yaml"]
    started = project.ran("docker/compose.sh", *both, "up", "--detach")
    assert started.returncode == 0, started.stderr
    project.stage(project.name, f"{project.name}_tasks")
    other = project.stage(f"{project.name}-2", "bridge")
    try:
        done = project.ran("make", "down")
        assert done.returncode == 0, done.stderr
        running = docker("ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Labels}}").splitlines()
        ours = [line for line in running if project.name in line]
        assert [line.split()[0] for line in ours] == [other]
        assert f"{project.name}_tasks" not in docker("network", "ls", "--format", "{{.Name}}").split()
        assert project.ran("make", "down").returncode == 0, "with nothing to stop"
    finally:
        docker("rm", "--force", other)
