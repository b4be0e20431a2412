"""A wrong address of the webhook, or of Airflow's API, is a line in the log: no run fails for it."""

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.paths import ROOT
from tests.pipelines.conftest import AIRFLOW_PYTHON

POST = """
import logging, sys
from types import SimpleNamespace
from pipelines import alerts
from pipelines.config import Config
logging.basicConfig(level=logging.WARNING)
ti = SimpleNamespace(dag_id="train", run_id="r", task_id="record", try_number=1, log_url="")
alerts.post(Config(webhook=sys.argv[1]), {"ti": ti, "task": None}, "succeeded")
"""
ASK = """
import logging, sys
from types import SimpleNamespace
from pipelines import alerts
from pipelines.config import Config
logging.basicConfig(level=logging.WARNING)
config = Config(airflow_url=sys.argv[1], airflow_login="admin:SECRET")
ti = SimpleNamespace(dag_id="train", run_id="r", task_id="approve", map_index=-1, try_number=2)
alerts.add_note(config, ti, "Recorded")
assert alerts.slots_of_pool(config, "gpu") is None
assert alerts.answer_to_earlier_try(config, ti) is None
"""

POOL = """
import sys
from pipelines import alerts
from pipelines.config import Config
try:
    print(alerts.slots_of_pool(Config(airflow_url=sys.argv[1], airflow_login="admin:SECRET"), "gpu"))
except LookupError:
    print("no pool")
"""


class Server(ThreadingHTTPServer):
    """A server of another kind.

    Attributes:
        answer: All bytes of its answer to any request.
    """

    answer = b""


class Api(BaseHTTPRequestHandler):
    """Airflow's API, of which it has the login and one pool or none."""

    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.wfile.write(b'HTTP/1.0 201 Created\r\n\r\n{"access_token": "token"}')

    def do_GET(self) -> None:
        is_asked = self.path == "/api/v2/pools/gpu" and self.headers["Authorization"] == "Bearer token"
        self.wfile.write(self.server.answer if is_asked else b"HTTP/1.0 500 Error\r\n\r\n")

    def log_message(self, *about: object) -> None:
        pass


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.wfile.write(self.server.answer)

    def log_message(self, *about: object) -> None:
        pass


@pytest.fixture
def server(airflow_environment: None) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as started:
        threading.Thread(target=started.serve_forever, daemon=True).start()
        yield started
        started.shutdown()


@pytest.mark.parametrize(
    ("answer", "slots"),
    [
        (b'HTTP/1.0 200 OK\r\n\r\n{"slots": 4}', "4"),
        (b'HTTP/1.0 200 OK\r\n\r\n{"slots": 0}', "0"),
        (b'HTTP/1.0 200 OK\r\n\r\n{"slots": -1}', "inf"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "no pool"),
        (b"HTTP/1.0 403 Forbidden\r\n\r\n", "None"),
    ],
)
def test_a_pools_slots_are_those_that_airflow_says(
    airflow_environment: None, answer: bytes, slots: str
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        vars(server)["answer"] = answer
        threading.Thread(target=server.serve_forever, daemon=True).start()
        words = [str(AIRFLOW_PYTHON), "-c", POOL, f"http://127.0.0.1:{server.server_port}"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
        server.shutdown()
    assert done.stdout.split("\n") == [slots, ""]


def warnings(program: str, address: str) -> str:
    """What the program logs, which ends well."""
    words = [str(AIRFLOW_PYTHON), "-c", program, address]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "address",
    [
        "hooks.example.com/SECRET",
        "https://hooks.example.com/SECRET x",
        "https://robot:SECRET@hooks.example.com",
    ],
)
def test_an_address_that_is_none_is_logged_without_it(airflow_environment: None, address: str) -> None:
    logged = warnings(POST, address)
    assert "skipped_webhook reason=" in logged
    assert "the address is wrong" in logged
    assert "SECRET" not in logged


def test_what_a_webhook_answers_is_not_read_as_json(server: Server) -> None:
    server.answer = b"HTTP/1.0 200 OK\r\n\r\n{ok}"
    assert warnings(POST, f"http://127.0.0.1:{server.server_port}") == ""


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n<html>Log in</html>", "JSONDecodeError"),
        (b"HTTP/1.0 200 OK\r\n\r\n[]", "TypeError"),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", "KeyError"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "HTTP Error 404: Not Found"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "BadStatusLine"),
    ],
)
def test_a_server_that_is_not_airflows_api_is_logged(server: Server, answer: bytes, says: str) -> None:
    server.answer = answer
    logged = warnings(ASK, f"http://127.0.0.1:{server.server_port}")
    for event in ("skipped_note", "skipped_pool_check", "skipped_earlier_answer"):
        assert f"{event} reason={says}" in logged
