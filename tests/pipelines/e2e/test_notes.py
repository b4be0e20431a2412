"""Notes on Airflow's pages, written while its server restarts and while another task writes one."""

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.paths import ROOT
from tests.pipelines.conftest import AIRFLOW_PYTHON

WRITE = """
import sys
from types import SimpleNamespace
from pipelines import alerts
from pipelines.config import Config
ti = SimpleNamespace(dag_id="train", run_id="r", task_id="plan", map_index=-1)
alerts.add_note(Config(airflow_url=sys.argv[1], airflow_login="admin:x"), ti, sys.argv[2])
"""


class Api(ThreadingHTTPServer):
    """The part of Airflow's API that notes need.

    Attributes:
        note: The run's note.
        refusals: How many requests it still answers with 503.
        interrupting: What another task writes after the next reading, over whatever comes.
    """

    note, refusals, interrupting = "", 0, ""


class Handler(BaseHTTPRequestHandler):
    server: Api

    def do_POST(self) -> None:
        self._answer({"access_token": "t"})

    def do_GET(self) -> None:
        self._answer({"note": self.server.note})

    def do_PATCH(self) -> None:
        note = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["note"]
        self.server.note, self.server.interrupting = self.server.interrupting or note, ""
        self._answer({"note": note})

    def _answer(self, body: dict[str, str]) -> None:
        if self.server.refusals:
            self.server.refusals -= 1
            self.send_error(503, "restarting")
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *about: object) -> None:
        pass


@pytest.fixture
def api(airflow_environment: None) -> Iterator[Api]:
    with Api(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def write(api: Api, text: str) -> None:
    words = [str(AIRFLOW_PYTHON), "-c", WRITE, f"http://127.0.0.1:{api.server_port}", text]
    subprocess.run(words, cwd=ROOT, check=True, timeout=120)


def test_a_note_waits_for_a_server_that_restarts(api: Api) -> None:
    api.note, api.refusals = "Plan: 3 stages", 2
    write(api, "Recorded")
    assert api.note == "Recorded\n\nPlan: 3 stages"


def test_of_two_notes_written_at_once_both_stay(api: Api) -> None:
    api.interrupting = "Failed: train@a"
    write(api, "Failed: train@b")
    assert api.note == "Failed: train@b\n\nFailed: train@a"


def test_a_note_longer_than_airflow_takes_is_written_once(api: Api) -> None:
    write(api, "\n".join(f"- stage {number}" for number in range(200)))
    assert api.note.count("the rest is in the task's log") == 1


@pytest.mark.parametrize("length", [950, 980, 1000, 3000])
def test_one_long_line_leaves_the_earlier_notes(api: Api, length: int) -> None:
    api.note = "Failed: a"
    write(api, "x" * length)
    assert api.note.startswith("x" * 800)
    assert len(api.note) <= 1000
    if length < 960:
        assert "Failed" in api.note or "the rest" in api.note
