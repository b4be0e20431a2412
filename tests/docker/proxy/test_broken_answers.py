"""Answers that an engine breaks off, as when it restarts: by a socket whose answers a test chooses."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.proxy.attendance import Attendance
from pipelines.proxy.engine import Engine
from pipelines.proxy.service import Service
from pipelines.proxy.spec import Policy

CUT_OFF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n["
NO_JSON = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\noops"
NO_HTTP = b"oops\r\n\r\n"
each_broken = pytest.mark.parametrize(
    "broken", [CUT_OFF, NO_JSON, NO_HTTP], ids=["cut off", "text", "no HTTP"]
)


def in_json(content: object) -> bytes:
    """A whole answer."""
    data = json.dumps(content).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)


class Answers:
    """A socket that gives these answers in turn, and notes the requests' first lines."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "docker.sock")
        self.answers: list[bytes] = []
        self.requests: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()

    def serve(self) -> None:
        """Answer until the socket is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                method, path, _ = connection.recv(65536).decode().split(maxsplit=2)
                self.requests.append(f"{method} {path.partition('?')[0]}")
                connection.sendall(self.answers.pop(0))

    def close(self) -> None:
        """End `serve`."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    answers = Answers(tmp_path)
    threading.Thread(target=answers.serve, daemon=True).start()
    yield answers
    answers.close()


@each_broken
def test_a_broken_answer_does_not_end_the_watch(answers: Answers, broken: bytes) -> None:
    attendance = Attendance(Engine(answers.path, "stack"))
    containers = [{"Id": "a", "State": "running"}, {"Id": "b", "State": "exited"}]
    answers.answers = [broken, in_json(containers), broken, in_json("")]
    for _ in range(2):
        attendance.end_unattended(0)
    assert answers.requests[-2:] == ["POST /containers/a/stop", "DELETE /containers/b"]


@each_broken
def test_a_broken_answer_is_a_transient_error_to_the_runner(answers: Answers, broken: bytes) -> None:
    answers.answers = [broken, in_json({"ApiVersion": "1.41"})]
    policy = Policy(frozenset(), {}, "", "", 0, 0)
    with Service(("127.0.0.1", 0), Engine(answers.path, "stack"), policy, "stack") as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        statuses = []
        for _ in range(2):
            client = http.client.HTTPConnection("127.0.0.1", service.server_port, timeout=60)
            client.request("GET", "/version")
            statuses.append(client.getresponse().status)
            client.close()
        service.shutdown()
    assert statuses == [502, 200]
