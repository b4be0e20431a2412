"""Calls of the Docker engine over its socket. Every path, query and body is built here or by the caller."""

import http.client
import json
import socket
from typing import Any
from urllib.parse import quote, urlencode

from pipelines.proxy.spec import STACK_LABEL


class EngineError(Exception):
    """The engine's own refusal, with its status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Connection(http.client.HTTPConnection):
    """HTTP over a socket of the host."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


class Engine:
    """The engine, and the containers on it that carry this stack's label.

    Paths have no version: the engine takes its newest. Old versions allow more, a HostConfig at start for
    one.
    """

    def __init__(self, path: str, stack: str) -> None:
        self._path, self._stack = path, stack

    def open(
        self, method: str, path: str, query: dict[str, str] | None = None, body: Any = None
    ) -> tuple[Connection, http.client.HTTPResponse]:
        """Send a request; return the connection, to be closed, and its answer. Raises EngineError."""
        connection = Connection(self._path)
        try:
            data = None if body is None else json.dumps(body)
            headers = {} if data is None else {"Content-Type": "application/json"}
            connection.request(method, f"{path}?{urlencode(query)}" if query else path, data, headers)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise EngineError(answer.status, _message(answer.read()))
        except BaseException:
            connection.close()
            raise
        return connection, answer

    def call(self, method: str, path: str, query: dict[str, str] | None = None, body: Any = None) -> Any:
        """Send a request; return the decoded answer, None for an empty one.

        Raises EngineError; OSError where the engine does not answer; HTTPException or ValueError where its
        answer is cut off or no JSON.
        """
        connection, answer = self.open(method, path, query, body)
        try:
            text = answer.read()
        finally:
            connection.close()
        return json.loads(text) if text else None

    def own(self, name: str) -> dict[str, Any]:
        """Inspect a container of this stack, by name or id. Raises EngineError, with 404 for any other."""
        inspected: dict[str, Any] = self.call("GET", f"/containers/{quote(name, safe='')}/json")
        if (inspected["Config"].get("Labels") or {}).get(STACK_LABEL) != self._stack:
            raise EngineError(404, f"no such container of stack {self._stack}: {name}")
        return inspected

    def containers(self) -> dict[str, bool]:
        """By id of each of this stack's containers, whether it runs."""
        query = {"all": "1", "filters": json.dumps({"label": [f"{STACK_LABEL}={self._stack}"]})}
        listed = self.call("GET", "/containers/json", query)
        return {row["Id"]: row["State"] not in ("created", "exited", "dead") for row in listed}

    def stop(self, container: str, seconds: int) -> None:
        """SIGTERM, and SIGKILL after so many seconds."""
        self.call("POST", f"/containers/{container}/stop", {"t": str(seconds)})

    def remove(self, container: str, *, force: bool = False) -> None:
        """Remove a container with its volumes; one that runs only by force."""
        self.call("DELETE", f"/containers/{container}", {"force": str(int(force)), "v": "1"})


def _message(text: bytes) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.decode(errors="replace").strip()
