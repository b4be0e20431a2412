"""The services of compose.yaml on ports and volumes of their own, and what a person would do with them."""

import base64
import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

ENDED = {"success", "failed"}
AWKWARD = ' @:/#%&$HOME\\"?+'


@dataclass
class Stack:
    """A clone of the repository with passwords of its own; `up` has to be called, and then `down`.

    `project` names the containers, the volumes and the network.
    """

    repository: Path
    project: str
    ports: dict[str, int] = field(default_factory=lambda: {"AIRFLOW_PORT": _free(), "MLFLOW_PORT": _free()})

    def up(self) -> None:
        """Start all services, and wait until Airflow has read its DAGs."""
        self._make_passwords()
        self._docker("docker/up.sh")
        self.wait(lambda: self._knows("train"), 240)

    def down(self) -> None:
        """Stop them, and remove the volumes."""
        self._docker("docker/compose.sh", "down", "--volumes")

    def docker(self, *words: str) -> str:
        """`docker WORDS` on the engine itself; raises CalledProcessError."""
        return self._docker("docker", *words)

    def container(self, service: str) -> str:
        """The id of a service's container."""
        return self._docker("docker/compose.sh", "ps", "--quiet", service).strip()

    def of_run(self, name: str) -> list[str]:
        """The names of the stages' containers that run for a run now."""
        return self.docker("ps", "--filter", f"label=org.convoy.run={name}", "--format", "{{.Names}}").split()

    def trigger(self, run: str, **form: Any) -> str:
        """Fill and send the form of the DAG train; returns the run's id."""
        created = self.airflow("dags/train/dagRuns", {"dag_run_id": run, "logical_date": None, "conf": form})
        return str(created["dag_run_id"])

    def state(self, run: str) -> str:
        """How a run stands."""
        return str(self.airflow(f"dags/train/dagRuns/{run}")["state"])

    def tasks(self, run: str) -> dict[str, dict[str, Any]]:
        """A run's tasks as Airflow shows them, by task and member: train@lenet."""
        tasks = self.airflow(f"dags/train/dagRuns/{run}/taskInstances?limit=500")["task_instances"]
        return {"@".join(filter(None, [task["task_id"], task["rendered_map_index"]])): task for task in tasks}

    def log(self, run: str, task: dict[str, Any], attempt: int = 1) -> str:
        """What a task said in one of its tries; a line's own fields stand behind it."""
        path = f"dags/train/dagRuns/{run}/taskInstances/{task['task_id']}/logs/{attempt}"
        content = self.airflow(f"{path}?map_index={task['map_index']}&full_content=true")["content"]
        return "\n".join(" ".join(map(str, line.values())) for line in content)

    def ended(self, run: str, seconds: float) -> dict[str, dict[str, Any]]:
        """Wait for the end of a run; returns its tasks."""
        self.wait(lambda: self.state(run) in ENDED, seconds)
        return self.tasks(run)

    def wait(self, until: Callable[[], Any], seconds: float) -> Any:
        """Return what `until` says once that is true; what is not there yet may raise OSError or KeyError."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if value := until():
                    return value
            except (OSError, KeyError):
                pass
            time.sleep(0.5)
        raise TimeoutError(f"{seconds} s; docker ps says\n{self.docker('ps', '--all')}")

    def airflow(self, path: str, body: Any = None, method: str = "") -> Any:
        """One call of Airflow's API."""
        page = f"http://127.0.0.1:{self.ports['AIRFLOW_PORT']}/api/v2/{path}"
        return _call(page, body, {"Authorization": f"Bearer {self._token}"}, method)

    def mlflow(self, path: str, body: Any = None) -> Any:
        """One call of MLflow's REST interface."""
        login = base64.b64encode(f"admin:{self.secrets['MLFLOW_ADMIN_PASSWORD']}".encode()).decode()
        page = f"http://127.0.0.1:{self.ports['MLFLOW_PORT']}/api/2.0/mlflow/{path}"
        return _call(page, body, {"Authorization": f"Basic {login}"})

    def runs(self, query: str) -> list[dict[str, Any]]:
        """MLflow's runs that a search finds, oldest first."""
        experiments = self.mlflow("experiments/search", {"max_results": 100})["experiments"]
        search = {
            "experiment_ids": [experiment["experiment_id"] for experiment in experiments],
            "filter": query,
            "order_by": ["attributes.start_time ASC"],
        }
        return list(self.mlflow("runs/search", search).get("runs", []))

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

    @cached_property
    def _token(self) -> str:
        page = f"http://127.0.0.1:{self.ports['AIRFLOW_PORT']}/auth/token"
        login = {"username": "admin", "password": self.secrets["AIRFLOW_ADMIN_PASSWORD"]}
        return str(_call(page, login, {})["access_token"])

    def _knows(self, dag: str) -> bool:
        return any(item["dag_id"] == dag for item in self.airflow("dags")["dags"])

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


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _call(page: str, body: Any, headers: dict[str, str], method: str = "") -> Any:
    data = None if body is None else json.dumps(body).encode()
    method = method or ("GET" if data is None else "POST")
    headers = {"Content-Type": "application/json", **headers}
    with urllib.request.urlopen(
        urllib.request.Request(page, data, headers, method=method), timeout=30
    ) as answer:
        return json.loads(answer.read() or "null")
