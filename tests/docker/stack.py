"""The services of compose.yaml on ports and volumes of their own, and what a person would do with them."""

import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.pipelines.e2e.client import ENDED, Airflow, Task
from tests.pipelines.e2e.mlflow import Mlflow
from tests.ports import free_port

AWKWARD = ' @:/#%&$HOME\\"?+'


@dataclass
class Stack:
    """A clone of the repository with passwords of its own; `up` has to be called, and then `down`.

    `project` names the containers, the volumes and the network.
    """

    repository: Path
    project: str
    ports: dict[str, int] = field(
        default_factory=lambda: {"AIRFLOW_PORT": free_port(), "MLFLOW_PORT": free_port()}
    )

    def up(self) -> None:
        """Start all services, and wait until Airflow has read its DAGs."""
        self._make_passwords()
        self.start()

    def start(self) -> None:
        """`make up`, also of services that run."""
        self._docker("docker/up.sh")
        self.wait(lambda: self._knows("train"), 240)

    def down(self) -> None:
        """Stop them, and remove the volumes."""
        self._docker("docker/down.sh", "--volumes")

    def docker(self, *words: str) -> str:
        """`docker WORDS` on the engine itself; raises CalledProcessError."""
        return self._docker("docker", *words)

    def container(self, service: str) -> str:
        """The id of a service's container."""
        return self._docker("docker/compose.sh", "ps", "--quiet", service).strip()

    def of_run(self, name: str) -> list[str]:
        """The names of the stages' containers that run for a run now."""
        return self.docker("ps", "--filter", f"label=org.convoy.run={name}", "--format", "{{.Names}}").split()

    def ended(self, run: str, seconds: float) -> dict[str, Task]:
        """Wait for the end of a run of train; returns its tasks by their address: train@lenet."""
        self.wait(lambda: self.airflow.state("train", run) in ENDED, seconds)
        return {task.address: task for task in self.airflow.tasks("train", run)}

    def wait(self, until: Callable[[], Any], seconds: float) -> Any:
        """Return what `until` says once that is true; a server that is not ready may refuse the call."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if value := until():
                    return value
            except (OSError, KeyError, AssertionError):
                pass
            time.sleep(1)
        raise TimeoutError(f"{seconds} s; docker ps says\n{self.docker('ps', '--all')}")

    @cached_property
    def airflow(self) -> Airflow:
        """Airflow, logged in."""
        return Airflow(
            f"http://127.0.0.1:{self.ports['AIRFLOW_PORT']}", self.secrets["AIRFLOW_ADMIN_PASSWORD"]
        )

    @cached_property
    def mlflow(self) -> Mlflow:
        """MLflow, with the administrator's login."""
        login = ("admin", self.secrets["MLFLOW_ADMIN_PASSWORD"])
        return Mlflow(f"http://127.0.0.1:{self.ports['MLFLOW_PORT']}", login)

    @cached_property
    def secrets(self) -> dict[str, str]:
        """The settings that the first start has written."""
        return settings(self.env)

    @property
    def env(self) -> Path:
        """The file of passwords."""
        return self.repository.parent / "stack.env"

    @property
    def home(self) -> Path:
        """The folder that stages share; a blank in its path is nothing special."""
        return self.repository.parent / "home of stages"

    def _make_passwords(self) -> None:
        """The first start's settings, with passwords that a URL, a shell or a file would have to quote."""
        stub = self.repository.parent / "stub"
        stub.mkdir()
        for program in ("docker", "docker-compose"):
            (stub / program).write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
            (stub / program).chmod(0o755)
        self._docker("docker/up.sh", PATH=f"{stub}{os.pathsep}{os.environ['PATH']}")
        text = self.env.read_text(encoding="utf-8")
        for name in (
            "POSTGRES_PASSWORD",
            "AIRFLOW_ADMIN_PASSWORD",
            "MLFLOW_ADMIN_PASSWORD",
            "MLFLOW_STAGES_PASSWORD",
        ):
            text = re.sub(f"{name}='(.*)'", lambda match: f"{match[0][:-1]}{AWKWARD}'", text)
        self.env.write_text(text, encoding="utf-8")

    def _knows(self, dag: str) -> bool:
        return any(item["dag_id"] == dag for item in self.airflow.ask("GET", "dags")["dags"])

    def _docker(self, *words: str, **variables: str) -> str:
        environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": self.project,
            "CONVOY_ENV": str(self.env),
            "CONVOY_HOME": str(self.home),
            "POSTGRES_IMAGE": "convoy/postgres:test",
            "DOCKER_SOCKET": os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")[7:],
            **{name: str(port) for name, port in self.ports.items()},
            **variables,
        }
        done = subprocess.run(
            words, cwd=self.repository, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout


def settings(path: Path) -> dict[str, str]:
    """The values of a file that up.sh has written."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}


def name_of(run: str) -> str:
    """A run's name in MLflow and DVC; pipelines.operators makes it."""
    return re.sub(r"[^A-Za-z0-9]+", "-", f"train-{run}")
