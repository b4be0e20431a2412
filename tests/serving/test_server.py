"""`mlflow models serve` as people start it: under load, with odd requests, and on a machine of its own."""

import base64
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import mlflow
import numpy as np
import pytest

from stages.common.files import read_json
from stages.data.store import Reader
from stages.params import Predict
from stages.predict import predict
from tests.data import fuzz, fuzz_seeds
from tests.ports import free_port
from tests.project import Project

from .conftest import files_of

pytestmark = pytest.mark.slow

PATIENCE = 180
SUFFIXES = (".png", ".jpg", ".bmp", ".webp")


@dataclass
class Server:
    """A running scoring server; every thread keeps a connection of its own."""

    process: subprocess.Popen[str]
    port: int
    _local: threading.local = field(default_factory=threading.local)

    def post(self, body: bytes, content_type: str = "application/json") -> tuple[int, Any]:
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            answer = self._request(body, content_type)
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            # The server closes a connection that was idle for five seconds, as on a busy machine.
            self._local.connection.close()
            answer = self._request(body, content_type)
        text = answer.read().decode()
        return answer.status, json.loads(text) if text.startswith("{") else text

    def _request(self, body: bytes, content_type: str) -> http.client.HTTPResponse:
        connection: http.client.HTTPConnection = self._local.connection
        connection.request("POST", "/invocations", body, {"Content-Type": content_type})
        return connection.getresponse()

    def classify(self, *images: bytes) -> tuple[int, Any]:
        records = [{"image": base64.b64encode(image).decode()} for image in images]
        return self.post(json.dumps({"dataframe_records": records}).encode())

    def memory(self) -> int:
        """Bytes in memory of all its processes."""
        pages = 0
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                words = status.read_text().rpartition(")")[2].split()
                if int(words[3]) == self.process.pid:
                    pages += int(status.with_name("statm").read_text().split()[1])
            except OSError:
                continue
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def serving(mlflow_command: str, model: str, folder: Path) -> Iterator[Server]:
    port = free_port()
    words = [mlflow_command, "models", "serve", "--env-manager", "local", "--model-uri", model]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    process = subprocess.Popen(
        [*words, "--host", "127.0.0.1", "--port", str(port)],
        cwd=folder,
        env=environment
        | {
            "PATH": f"{Path(mlflow_command).parent}{os.pathsep}{os.environ['PATH']}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "Uvicorn running" in line:
                break
        else:
            pytest.fail("the server did not start:\n" + "".join(lines))
        # A full pipe would stop it.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield Server(process, port)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def server(members: dict[str, Path], tracked: Path) -> Iterator[Server]:
    command = str(Path(sys.executable).parent / "mlflow")
    uri = f"runs:/{read_json(members['patchy'] / 'run.json')['run_id']}/model"
    with serving(command, uri, tracked) as started:
        yield started


def expected(members: dict[str, Path], packed: Any, folder: Path) -> np.ndarray:
    params = Predict(crops="center")
    predict("patchy", params=params, model=members["patchy"], data=packed.packed, predictions=folder)
    with Reader(folder / "test.h5") as rows:
        return rows.read(0, len(rows))


@pytest.fixture(scope="module")
def hundred(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, list[Path]]:
    """A project whose test split is 108 files of several formats, shapes and colours, and these files."""
    root = tmp_path_factory.mktemp("hundred")
    draw = np.random.default_rng(0)
    for number in range(180):
        height, width = draw.integers(9, 70, 2)
        colours = (height, width) if number % 5 == 0 else (height, width, 3)
        file = root / "source" / ("cat", "dog", "panda")[number % 3] / f"{number}{SUFFIXES[number % 4]}"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), draw.integers(0, 256, colours, np.uint8))
    project = Project(root, root / "source")
    project.ingest(test_fraction=0.6, near_duplicates={"distance": None})
    project.resize()
    project.mean()
    project.pack()
    return project, files_of(project)


def test_twenty_clients_at_once_get_the_members_probabilities(
    server: Server, members: dict[str, Path], hundred: tuple[Project, list[Path]], tmp_path: Path
) -> None:
    project, files = hundred
    assert len(files) >= 100
    with ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(lambda file: server.classify(file.read_bytes()), files))
    assert {status for status, _ in answers} == {200}
    probabilities = [list(answer["predictions"][0]["probabilities"].values()) for _, answer in answers]
    np.testing.assert_allclose(probabilities, expected(members, project, tmp_path / "p"), atol=1e-5)


def image(height: int, width: int) -> bytes:
    return cv2.imencode(".png", np.zeros((height, width), np.uint8))[1].tobytes()


def test_what_is_no_image_is_answered_with_400_and_the_reason(
    server: Server, test_images: list[Path]
) -> None:
    good = test_images[0].read_bytes()
    for bad, reason in [
        (b"no image", "image 1: not an image in one of the formats"),
        (good[: len(good) // 2], "image 1: damaged PNG"),
        (image(8_000, 8_000), "8000x8000 pixels are more than the 50000000 allowed"),
        (b"", "the file is empty"),
    ]:
        status, answer = server.classify(good, bad)
        assert status == 400
        assert reason in answer["message"]
        assert "Traceback" not in json.dumps(answer)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b"{}", "application/json", 400),
        (b'{"dataframe_records": []}', "application/json", 400),
        (b'{"dataframe_records": [{"image": null}]}', "application/json", 400),
        (b'{"dataframe_records": [{"image": "AA=="}]}', "application/json", 400),
        (b"image\n/etc/hostname\n", "text/csv", 400),
        (b"anything", "image/png", 415),
    ],
)
def test_odd_requests_are_the_clients_mistake(
    server: Server, body: bytes, content_type: str, status: int
) -> None:
    assert server.post(body, content_type)[0] == status


def test_damaged_requests_are_the_clients_mistake_or_are_answered(server: Server) -> None:
    """CONVOY_FUZZ_INPUTS says how many, as for tests/data/test_fuzz.py."""
    count = int(os.environ.get("CONVOY_FUZZ_INPUTS", "200"))
    bodies, statuses, slowest = fuzz_seeds.requests(), Counter[int](), 0.0
    kinds = ["application/json"] * 8 + [
        "text/csv",
        "application/json; charset=utf-16",
        "",
        "multipart/form-data",
    ]
    before = server.memory()
    for number, body in enumerate(fuzz.inputs(bodies, count, 0, fuzz.mutated)):
        start = time.monotonic()
        status, answer = server.post(body, kinds[number % len(kinds)])
        slowest = max(slowest, time.monotonic() - start)
        statuses[status] += 1
        assert status < 500, (status, answer, body[:2000])
        assert "Traceback" not in json.dumps(answer), (answer, body[:2000])
    assert server.memory() - before < 2**28
    assert statuses[400], statuses
    assert server.post(bodies[0])[0] == 200
    print("answers", dict(statuses), "slowest", round(slowest, 2))  # noqa: T201


def test_memory_does_not_grow_over_two_thousand_requests(server: Server, test_images: list[Path]) -> None:
    images = [path.read_bytes() for path in test_images]

    def ask(count: int) -> None:
        with ThreadPoolExecutor(4) as clients:
            answers = clients.map(lambda n: server.classify(images[n % len(images)])[0], range(count))
            assert set(answers) == {200}

    # Until every thread of the server has its buffers and the graph is traced.
    ask(500)
    before = server.memory()
    ask(2000)
    assert server.memory() - before < 16 * 2**20


def test_a_machine_with_nothing_but_its_requirements_serves_it(
    members: dict[str, Path], packed: Any, test_images: list[Path], tmp_path: Path
) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        pytest.skip("uv, which makes the environment, is not installed")
    uri = f"runs:/{read_json(members['patchy'] / 'run.json')['run_id']}/model"
    model = mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / "model"))
    python = tmp_path / "fresh" / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, tmp_path / "fresh"], check=True)
    install = [uv, "pip", "install", "-q", "--python", python, "-r", Path(model) / "requirements.txt"]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode and any(word in done.stderr for word in ("Failed to fetch", "dns error", "offline")):
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    with serving(str(python.with_name("mlflow")), model, tmp_path) as server:
        status, answer = server.classify(*(path.read_bytes() for path in test_images))
    assert status == 200
    probabilities = [list(prediction["probabilities"].values()) for prediction in answer["predictions"]]
    np.testing.assert_allclose(probabilities, expected(members, packed, tmp_path / "p"), atol=1e-5)
