"""Airflow as `make airflow` starts it, in a copy of a repository."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.dvc_clone import clone_working_tree
from tests.pipelines.conftest import AIRFLOW_PYTHON, Repository, add_airflow, make
from tests.pipelines.e2e.client import Airflow, wait_until
from tests.ports import free_port

# On a machine that does other work as well.
SECONDS_TO_START = 600
# More only take longer: each is a task of its own, on two cores one or two at a time.
MEMBERS = int(os.environ.get("CONVOY_TEST_MEMBERS", "6"))
# How many of them at most.
AT_ONCE = 6
# A folder with OpenLineage's provider, where there is one.
LINEAGE = os.environ.get("CONVOY_TEST_OPENLINEAGE", "")


class Local:
    """`python -m pipelines.local` in a repository, to be started and stopped at will."""

    def __init__(self, repository: Path, *options: str, **environment: str) -> None:
        self.repository = repository
        # The defaults are those of a person's `make airflow`, which may run meanwhile.
        ports = f"--port={free_port()}", f"--mlflow-port={free_port()}"
        self._words = [str(AIRFLOW_PYTHON), "-m", "pipelines.local", *ports, *options]
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("CONVOY_", "MLFLOW_"))
        }
        self._environment = {
            **inherited,
            "CONVOY_PYTHON": sys.executable,
            **environment,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(repository), LINEAGE])),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._airflow: Airflow | None = None

    def running(self) -> Airflow:
        """What has been started last; start it where nothing has."""
        return self._airflow or self.start()

    @property
    def output(self) -> str:
        return self.repository.joinpath("local.log").read_text(encoding="utf-8")

    def start(self) -> Airflow:
        """Start it; return when it says where it is."""
        with self.repository.joinpath("local.log").open("wb") as file:
            # As a script's `make airflow &` starts it, SIGINT ignored; it has to hear Ctrl-C all the same.
            self._process = subprocess.Popen(
                ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *self._words],
                cwd=self.repository,
                env=self._environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + SECONDS_TO_START
        while "Ctrl-C" not in self.output:
            assert self._process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.2)
        match = re.search(r"Airflow  (\S+)  user admin, password (\S+)\nMLflow   (\S+)", self.output)
        assert match is not None, self.output
        self._airflow = airflow = Airflow(*match.groups())
        health = airflow.ask("GET", "monitor/health")
        assert health["scheduler"]["status"] == "healthy", "it says where it is when tasks can run"
        wait_until(lambda: len(airflow.ask("GET", "dags")["dags"]) == 4, SECONDS_TO_START, "the DAGs")
        return airflow

    def process(self, *words: str) -> psutil.Process:
        """The oldest of its descendants that has all these words in its command line or its environment."""
        assert self._process is not None
        for process in psutil.Process(self._process.pid).children(recursive=True):
            try:
                text = {
                    *process.cmdline(),
                    *(f"{key}={value}" for key, value in process.environ().items()),
                }
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            if text.issuperset(words):
                return process
        raise AssertionError(f"no process of Airflow's has {' '.join(words)}")

    def ended(self) -> int:
        """Its exit status, when it ends by itself."""
        assert self._process is not None
        return self._process.wait(timeout=600)

    def stop(self) -> None:
        """Ctrl-C."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=120)


class Webhook:
    """A server that keeps the messages it gets."""

    def __init__(self) -> None:
        messages: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.messages, self.server = messages, ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def of_run(self, run: str) -> dict[str, dict[str, Any]]:
        """The messages about a run by their event."""
        return {message["event"]: message for message in self.messages if message["run"] == run}


@pytest.fixture(scope="session")
def webhook() -> Iterator[Webhook]:
    """What CONVOY_WEBHOOK names."""
    webhook = Webhook()
    threading.Thread(target=webhook.server.serve_forever, daemon=True).start()
    yield webhook
    webhook.server.shutdown()
    webhook.server.server_close()


@pytest.fixture(scope="session")
def tiny(
    airflow_environment: None, webhook: Webhook, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Repository, Local]]:
    """The pipeline of seconds, in a repository with Airflow's part of this one; not started yet."""
    repository = make(tmp_path_factory.mktemp("tiny"))
    members = "".join(f"  m{number}: {{c: {number}}}\n" for number in range(MEMBERS))
    add_judge_that_waits(repository)
    repository.write("conf/recipe/many.yaml", f"# @package _global_\n# Many members.\nmodels:\n{members}")
    add_airflow(repository)
    (repository.shared / "images").mkdir(parents=True)
    local = Local(
        repository.root,
        AIRFLOW__CORE__PARALLELISM=str(min(MEMBERS, AT_ONCE) + 2),
        **lineage_variables(repository.shared / "lineage.jsonl"),
        CONVOY_RETRAIN_CRON="* * * * *",
        CONVOY_WEBHOOK=webhook.url,
        CONVOY_WATCH=str(repository.shared / "images"),
        CONVOY_WATCH_SECONDS="2",
    )
    yield repository, local
    local.stop()


def add_judge_that_waits(repository: Repository) -> None:
    """Let the last stage report an event, and wait for a person where a run wants that."""
    graph = (repository.root / "dvc.yaml").read_text(encoding="utf-8")
    graph = graph.replace("  judge:\n", "  judge:\n    meta: {messages: [started], approval: rejected}\n")
    repository.write("dvc.yaml", graph.replace("params: [models]", "params: [models, rejected]"))
    work = (repository.root / "work.py").read_text(encoding="utf-8")
    repository.write("work.py", work.replace("**values}", '"rejected": params["rejected"], **values}'))
    for name in ("conf/config.yaml", "params.yaml"):
        text = (repository.root / name).read_text(encoding="utf-8")
        repository.write(name, text.replace("base: 1\n", "base: 1\nrejected: false\n"))


def lineage_variables(events: Path) -> dict[str, str]:
    """Send OpenLineage's events to a file, where its provider is installed."""
    transport = {"type": "file", "log_file_path": str(events), "append": True}
    return {"AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport)} if LINEAGE else {}


@pytest.fixture
def airflow(tiny: tuple[Repository, Local]) -> Airflow:
    """Airflow on the pipeline of seconds."""
    return tiny[1].running()


@pytest.fixture(scope="session")
def own(
    airflow_environment: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Airflow]]:
    """A clone of this repository with the working tree's changes, and Airflow on it."""
    root = tmp_path_factory.mktemp("own") / "convoy"
    clone_working_tree(root)
    (root / ".git" / "info" / "exclude").write_text("/local.log\n")
    local = Local(root)
    yield root, local.start()
    local.stop()
