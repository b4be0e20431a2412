"""Airflow's REST interface, as far as the tests need it."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests

ENDED = ("success", "failed")


@dataclass
class Task:
    """One task of a run; `member` is what the UI shows of a mapped task, `index` its number (else -1)."""

    name: str
    member: str
    index: int
    state: str
    started: datetime | None
    ended: datetime | None
    tries: int

    @property
    def address(self) -> str:
        return f"{self.name}@{self.member}" if self.member else self.name


class Airflow:
    """A running Airflow and its MLflow, logged in."""

    def __init__(self, url: str, password: str, mlflow: str = "") -> None:
        self.url, self.password, self.mlflow = url, password, mlflow
        self._session = requests.Session()
        login = {"username": "admin", "password": password}
        token = self._session.post(f"{url}/auth/token", json=login, timeout=600).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def send(self, method: str, path: str, body: Any = None) -> requests.Response:
        """One call, whatever its answer."""
        return self._session.request(method, f"{self.url}/api/v2/{path}", json=body, timeout=600)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One call; raises AssertionError with Airflow's own words when it is refused."""
        answer = self.send(method, path, body)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def trigger(self, dag: str, run: str | None = None, /, **conf: Any) -> str:
        """Start a run with the form filled; returns its id, which Airflow chooses where there is none."""
        body = {"dag_run_id": run, "logical_date": None, "conf": conf}
        return str(self.ask("POST", f"dags/{dag}/dagRuns", body)["dag_run_id"])

    def state(self, dag: str, run: str) -> str:
        return str(self.run(dag, run)["state"])

    def run(self, dag: str, run: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask("GET", f"dags/{dag}/dagRuns/{run}")
        return answer

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """The newest first."""
        answer: list[dict[str, Any]] = self.ask("GET", f"dags/{dag}/dagRuns?order_by=-id&limit=100")[
            "dag_runs"
        ]
        return answer

    def tasks(self, dag: str, run: str) -> list[Task]:
        tasks: list[dict[str, Any]] = []
        # A page has 100 tasks at most, whatever its limit.
        while True:
            path = f"dags/{dag}/dagRuns/{run}/taskInstances?order_by=id&limit=100&offset={len(tasks)}"
            page = self.ask("GET", path)
            tasks += page["task_instances"]
            if len(tasks) >= page["total_entries"]:
                break
        return [
            Task(
                task["task_id"],
                task["rendered_map_index"] or "",
                task["map_index"],
                task["state"],
                _time(task["start_date"]),
                _time(task["end_date"]),
                task["try_number"],
            )
            for task in tasks
        ]

    def states(self, dag: str, run: str) -> dict[str, str]:
        """The state of each task by its address: train@lenet."""
        return {task.address: task.state for task in self.tasks(dag, run)}

    def log(self, dag: str, run: str, task: str, attempt: int = 1, index: int = -1) -> str:
        """What the task's page shows, line by line."""
        path = f"dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}"
        lines = self.ask("GET", f"{path}?map_index={index}&full_content=true")["content"]
        # After a line come its own fields: the reason of a skip is such a field.
        return "\n".join(
            " ".join(map(str, line.values())) if isinstance(line, dict) else line for line in lines
        )

    def note(self, dag: str, run: str, task: str, index: int = -1) -> str:
        """The note of a task."""
        page = f"dags/{dag}/dagRuns/{run}/taskInstances/{task}"
        return str(self.ask("GET", page if index < 0 else f"{page}/{index}")["note"])

    def open_log(self, dag: str, run: str, task: str, index: int = -1) -> str:
        """The lines that a task's page shows at once: those outside of its groups, which are closed."""
        lines, depth = [], 0
        for line in self.log(dag, run, task, index=index).splitlines():
            depth += ("::group::" in line) - ("::endgroup::" in line)
            if depth == 0:
                lines.append(line)
        return "\n".join(lines)

    def result(self, dag: str, run: str, task: str, index: int = -1) -> Any:
        """What the task returned."""
        path = f"dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/return_value?map_index={index}"
        value = self.ask("GET", f"{path}&deserialize=false")["value"]
        return json.loads(value) if isinstance(value, str) else value

    def ended(self, dag: str, run: str, seconds: float = 600) -> str:
        """Wait for the run's end; returns its state."""
        wait_until(lambda: self.state(dag, run) in ENDED, seconds, f"the end of {dag} {run}")
        return self.state(dag, run)


def wait_until(done: Callable[[], Any], seconds: float, awaited: str) -> Any:
    """Ask every second; returns the first answer that is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := done():
            return answer
        time.sleep(1)
    raise AssertionError(f"{awaited} did not come within {seconds} s")


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
