"""A real `mlflow server` that is killed while a member is trained, and started again."""

import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import mlflow
import pytest
from mlflow import MlflowClient

from stages import tracking
from stages.common import log
from stages.common.files import read_json
from stages.models.learners import sgd
from stages.tracking import live
from stages.train import train
from tests.ports import free_port

pytestmark = pytest.mark.slow


class Server:
    """On SQLite and a folder of artifacts; what it stores outlives it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        words = ["--backend-store-uri", f"sqlite:///{self.root}/server.db", "--workers", "1"]
        words += ["--artifacts-destination", str(self.root / "artifacts"), "--port", str(self.port)]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.root / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *words],
                env={key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"} | quiet,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_for(self.answers)

    def answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(started: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """It runs; each test trains in a folder and an experiment of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", started.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return started


def fit(recipe: str, features: Path, folder: Path) -> None:
    params = sgd.Params(
        kind="sgd",
        input="features/pixels",
        code="stages/models/learners/sgd.py",
        normalize=None,
        loss="log_loss",
        penalty=None,
        l1_ratio=0.15,
        alpha=0.0,
        learning_rate=0.01,
        epochs=4,
        seed=1,
    )
    train("net", params=params, recipe=recipe, data=features, model=folder)


def after_epoch(monkeypatch: pytest.MonkeyPatch, number: int, do: Any) -> None:
    """Do something to the server as soon as it has the epoch of this number."""
    logged = tracking.Run.epoch

    def epoch(run: tracking.Run, epoch: int, values: dict[str, float]) -> None:
        logged(run, epoch, values)
        if epoch == number:
            do(run)

    monkeypatch.setattr(tracking.Run, "epoch", epoch)


def complete(recipe: str, folder: Path) -> None:
    """Assert that the server has all of the training, and each of its parts once."""
    client = MlflowClient()
    run_id = str(tracking.resolve(client, read_json(folder / tracking.LINK)))
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    history = read_json(folder / "history.json")
    for name in ("loss", "val_loss", "val_accuracy"):
        metrics = client.get_metric_history(run_id, name)
        assert [metric.step for metric in metrics] == [1, 2, 3, 4]
        assert [metric.value for metric in metrics] == history[name]
    figures = {artifact.path for artifact in client.list_artifacts(run_id, "figures")}
    assert {"figures/learning_curves.png", "figures/confusion_val.png"} <= figures
    assert "log.txt" in {artifact.path for artifact in client.list_artifacts(run_id)}
    (experiment,) = [experiment for experiment in client.search_experiments() if experiment.name == recipe]
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.tags["stage"] for run in runs) == ["pipeline", "train@net"]
    (model,) = client.search_logged_models([experiment.experiment_id])
    assert model.source_run_id == run_id


def test_a_server_killed_in_training_gets_the_rest_when_it_is_back(
    server: Server,
    features: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "models" / "net"

    def kill(run: tracking.Run) -> None:
        wait_for_epoch(run, 2)
        server.kill()

    after_epoch(monkeypatch, 2, kill)
    fit("killed", features, folder)
    warnings = [record.getMessage() for record in caplog.records if record.name == log._LOGGER.name]
    assert [line for line in warnings if "unreachable" in line] == ["found_server_unreachable"]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    server.start()
    words = [sys.executable, "-m", "stages.tools.sync_tracking"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    for _ in range(2):
        subprocess.run(words, check=True, env=environment)
        complete("killed", folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_server_that_comes_back_in_training_has_everything_at_its_end(
    server: Server, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_FIRST", 0.1)
    folder = tmp_path / "models" / "net"

    def kill_and_start(run: tracking.Run) -> None:
        wait_for_epoch(run, 1)
        server.kill()
        run.metrics({"while unreachable": 1.0})
        server.start()

    after_epoch(monkeypatch, 1, kill_and_start)
    fit("back", features, folder)
    complete("back", folder)


def test_a_server_that_is_dead_from_the_start_gets_everything_later(
    server: Server, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models" / "net"
    server.kill()
    try:
        fit("dead", features, folder)
    finally:
        server.start()
    assert read_json(folder / tracking.LINK)["run_id"] is None
    # What was made then, with the code of then.
    marked = folder / tracking.FOLDER / "model" / "code" / "stages" / "__init__.py"
    marked.write_text("# of then", encoding="utf-8")
    tracking.sync([folder])
    complete("dead", folder)
    (experiment,) = [
        experiment for experiment in MlflowClient().search_experiments() if experiment.name == "dead"
    ]
    (model,) = MlflowClient().search_logged_models([experiment.experiment_id])
    copy = Path(
        mlflow.artifacts.download_artifacts(f"models:/{model.model_id}", dst_path=str(tmp_path / "copy"))
    )
    assert (copy / "code" / "stages" / "__init__.py").read_text(encoding="utf-8") == "# of then"


def test_a_training_does_not_wait_for_a_slow_server(
    server: Server, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first epoch and the last, the server answers nothing at all."""
    folder = tmp_path / "models" / "net"
    epochs: list[int] = []
    with Gate(server.port) as gate:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", gate.uri)
        logged = tracking.Run.epoch

        def epoch(run: tracking.Run, number: int, values: dict[str, float]) -> None:
            gate.open.clear()
            logged(run, number, values)
            epochs.append(number)
            if number == 4:
                gate.open.set()

        monkeypatch.setattr(tracking.Run, "epoch", epoch)
        fit("slow", features, folder)
    assert epochs == [1, 2, 3, 4]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    mlflow.set_tracking_uri(server.uri)
    complete("slow", folder)


def test_a_server_that_answers_nothing_ends_no_training(
    server: Server,
    features: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "models" / "net"
    monkeypatch.setattr(live, "PATIENCE", 0.2)
    with Gate(server.port) as gate:
        gate.open.clear()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", gate.uri)
        fit("hanging", features, folder)
        warnings = [record.getMessage() for record in caplog.records if record.name == log._LOGGER.name]
        assert sum("unreachable" in line for line in warnings) == 1
        gate.open.set()
        # A stage's thread ends with its process; here it would open the run at the same time as `sync`.
        for thread in threading.enumerate():
            if isinstance(thread, live.Live):
                thread.join(60)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    tracking.sync([folder])
    complete("hanging", folder)


class Gate(socketserver.ThreadingTCPServer):
    """A proxy of a server, which passes answers on only while `open` is set."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Passage)
        self.port, self.open = port, threading.Event()
        self.open.set()
        self.uri = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *about: object) -> None:
        self.open.set()
        self.shutdown()
        self.server_close()


class Passage(socketserver.BaseRequestHandler):
    """One connection through the gate."""

    server: Gate

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port)) as behind:
            back = threading.Thread(target=self._pass, args=(behind, self.request), daemon=True)
            back.start()
            self._pass(self.request, behind)
            back.join()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.server.open.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def wait_for_epoch(run: tracking.Run, number: int) -> None:
    client, run_id = MlflowClient(), str(run.link["run_id"])
    wait_for(lambda: number in [metric.step for metric in client.get_metric_history(run_id, "loss")])


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        threading.Event().wait(0.05)
