"""The proxy's HTTP service: the calls that the docker runner makes, and no other."""

import json
import re
import select
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote

from pipelines.proxy import spec
from pipelines.proxy.attendance import Attendance
from pipelines.proxy.engine import Engine, EngineError

# Of a request: an environment variable carries the params of a run.
_LARGEST_BODY = 1_000_000
_PATH = re.compile(
    r"(?:/v1\.\d{1,3})?/(?:(?P<look>_ping|version)|containers/(?P<create>create)"
    r"|images/(?P<image>[A-Za-z0-9._/:@-]{1,255})/json"
    r"|containers/(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]{0,254})(?:/(?P<action>start|stop|wait|logs|json))?)"
)
_METHODS = {"start": "POST", "stop": "POST", "wait": "POST", "logs": "GET", "json": "GET", None: "DELETE"}


class Service(ThreadingHTTPServer):
    """Listens for the docker runner."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], engine: Engine, policy: spec.Policy, stack: str) -> None:
        super().__init__(address, Handler)
        self.engine, self.policy, self.stack = engine, policy, stack
        self.attendance = Attendance(engine)


class Handler(BaseHTTPRequestHandler):
    """One connection. A request is read; what the engine gets is built from it."""

    server: Service
    protocol_version = "HTTP/1.1"
    # For a request to arrive, and for the client to take what it is sent.
    timeout = 60

    def do_GET(self) -> None:  # noqa: D102
        self._answer_safely()

    do_HEAD = do_POST = do_DELETE = do_GET  # noqa: N815

    def _answer_safely(self) -> None:
        try:
            self._answer()
        except spec.RefusedError as error:
            self._refuse(403, str(error))
        except EngineError as error:
            self._refuse(error.status, str(error))
        except (OSError, HTTPException, ValueError) as error:
            self._refuse(502, f"the engine does not answer: {error}")

    def _answer(self) -> None:
        body = self._body()
        path, _, query = self.path.partition("?")
        options = dict(parse_qsl(query))
        match = _PATH.fullmatch(path)
        wanted = match.groupdict() if match else {}
        if body and not wanted.get("create"):
            raise spec.RefusedError(f"{path} takes no body")
        if wanted.get("create") and self.command == "POST":
            self._create(options.get("name", ""), body)
        elif wanted.get("look") and self.command in ("GET", "HEAD"):
            self._look(wanted["look"])
        elif wanted.get("image") and self.command == "GET":
            self._image(wanted["image"])
        elif wanted.get("name") and self.command == _METHODS[wanted["action"]]:
            self._control(wanted["name"], wanted["action"], options)
        else:
            raise spec.RefusedError(f"{self.command} {path} is no call of the docker runner")

    def _body(self) -> bytes:
        """The request's body. Raises RefusedError for one whose length is not said, or too large."""
        lengths = self.headers.get_all("Content-Length") or ["0"]
        if self.headers.get("Transfer-Encoding") or len(lengths) > 1 or not lengths[0].isdecimal():
            self.close_connection = True
            raise spec.RefusedError("a body needs one Content-Length")
        if int(lengths[0]) > _LARGEST_BODY:
            self.close_connection = True
            raise spec.RefusedError(f"the body has {lengths[0]} bytes; allowed: {_LARGEST_BODY}")
        return self.rfile.read(int(lengths[0]))

    def _look(self, target: str) -> None:
        version = self.server.engine.call("GET", "/version")
        shown = {key: version[key] for key in ("ApiVersion", "MinAPIVersion") if key in version}
        self._send(200, "OK" if target == "_ping" else shown)

    def _image(self, name: str) -> None:
        if name not in self.server.policy.images:
            raise spec.RefusedError(f"image {name} is none of a stage")
        inspected = self.server.engine.call("GET", f"/images/{quote(name)}/json")
        self._send(200, {"Id": inspected["Id"]})

    def _create(self, name: str, body: bytes) -> None:
        spec.check_name(name)
        try:
            decoded = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise spec.RefusedError(f"the body is not JSON: {error}") from None
        container, policy = spec.parse(decoded), self.server.policy
        policy.check(container)
        container = replace(
            container,
            memory=min(container.memory, policy.memory),
            nano_cpus=min(container.nano_cpus, policy.nano_cpus),
        )
        built = spec.request(container)
        built["Labels"][spec.STACK_LABEL] = self.server.stack
        created = self.server.engine.call("POST", "/containers/create", {"name": name}, built)
        self._send(201, {"Id": created["Id"], "Warnings": created.get("Warnings") or []})

    def _control(self, name: str, action: str | None, options: dict[str, str]) -> None:
        engine, inspected = self.server.engine, self.server.engine.own(name)
        # From here on by its id: a name may have gone to another container in between.
        container = inspected["Id"]
        if action == "json":
            self._send(200, reduced(inspected))
        elif action == "logs":
            self._follow(container, options.get("since", ""))
        elif action == "start":
            engine.call("POST", f"/containers/{container}/start")
            self._send(204)
        elif action == "stop":
            seconds = options.get("t", "10")
            engine.stop(container, min(int(seconds), 300) if seconds.isdecimal() else 10)
            self._send(204)
        elif action == "wait":
            self._send(
                200, {"StatusCode": engine.call("POST", f"/containers/{container}/wait")["StatusCode"]}
            )
        else:
            engine.remove(container, force=True)
            self._send(204)

    def _follow(self, container: str, since: str) -> None:
        """Send a container's output until it ends or the client closes the connection."""
        query = {"stdout": "1", "stderr": "1", "follow": "1"}
        if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", since):
            query["since"] = since
        with self.server.attendance.follow(container):
            connection, answer = self.server.engine.open("GET", f"/containers/{container}/logs", query)
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.docker.raw-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            watcher = threading.Thread(target=self._hang_up, args=(connection.sock,), daemon=True)
            watcher.start()
            try:
                while piece := answer.read1(65536):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")
            except (OSError, HTTPException):
                # The client or the engine went. The runner sees that the container runs, and comes again.
                pass
            finally:
                self.close_connection = True
                with suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RD)
                watcher.join()
                connection.close()

    def _hang_up(self, upstream: socket.socket) -> None:
        """Wait until the client closes its side or this one does; then end the stream from the engine."""
        select.select([self.connection], [], [])
        with suppress(OSError):
            upstream.shutdown(socket.SHUT_RDWR)

    def _refuse(self, status: int, message: str) -> None:
        sys.stdout.write(f"{status} {self.command} {self.path[:200]}: {message[:500]}\n")
        sys.stdout.flush()
        self._send(status, {"message": f"convoy's proxy: {message}"})

    def _send(self, status: int, content: Any = None) -> None:
        data = (
            content.encode()
            if isinstance(content, str)
            else b""
            if content is None
            else json.dumps(content).encode()
        )
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Only refusals are logged, with their reason."""


def reduced(inspected: dict[str, Any]) -> dict[str, Any]:
    """Of an inspection what the docker runner reads; the environment holds passwords."""
    state = inspected["State"]
    keys = ("Status", "Running", "ExitCode", "OOMKilled", "Error", "StartedAt", "FinishedAt")
    return {
        "Id": inspected["Id"],
        "Name": inspected["Name"],
        "State": {key: state[key] for key in keys if key in state},
        "Config": {"Tty": False},
        "HostConfig": {"Memory": inspected["HostConfig"]["Memory"]},
        "NetworkSettings": {
            "Networks": {
                name: {"IPAddress": network.get("IPAddress", "")}
                for name, network in inspected["NetworkSettings"]["Networks"].items()
            }
        },
    }
