"""The part of a Kubernetes API server that the runner calls; a test decides what becomes of the pod.

It replaces a cluster where a test decides the moment of each answer; tests/kubernetes has a real one. It
records what the runner sends, for tests to look at; the pod itself is checked against Kubernetes' schema.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Status = dict[str, Any]
NAME = "convoy-train-one-train-lenet"
UID = "00000000-0000-4000-8000-000000000002"
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: here}}]
clusters: [{name: here, cluster: {server: "SERVER"}}]
users: [{name: here, user: {}}]
"""


def container(state: dict[str, Any], phase: str = "Pending", **status: Any) -> Status:
    """The status of a pod whose container has this state."""
    item = {"name": "stage", "state": state, "ready": False, "restartCount": 0, "image": "i", "imageID": "i"}
    return {"phase": phase, "containerStatuses": [item], **status}


RUNNING = container({"running": {}}, "Running")


def ended(code: int, reason: str = "Error") -> Status:
    """The status of a pod whose container has ended."""
    phase = "Failed" if code else "Succeeded"
    return container({"terminated": {"exitCode": code, "reason": reason}}, phase)


def warning(message: str, uid: str = UID) -> dict[str, Any]:
    """An event of a pod: its message begins with its reason and a colon."""
    reason, _, text = message.partition(": ")
    return {
        "type": "Warning",
        "reason": reason,
        "message": text,
        "metadata": {},
        "involvedObject": {"name": NAME, "uid": uid},
    }


def selected(event: dict[str, Any], selector: str) -> bool:
    """Whether an event has the fields of a selector."""
    for part in selector.split(","):
        path, _, expected = part.partition("=")
        value: Any = event
        for key in path.split("."):
            value = value.get(key, {})
        if value != expected:
            return False
    return True


def unschedulable(message: str) -> Status:
    """The status of a pod that no node takes."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"phase": "Pending", "conditions": [condition]}


@dataclass
class Cluster:
    """What becomes of the pod, and what the runner has done.

    Attributes:
        statuses: The pod's status at each look; the last one stays. After None the pod does not exist.
        logs: The answer to each request for the log; the last one is that to every further request. The
            connection breaks after every answer but the last.
        is_deleted: The pod has the time of its deletion, as when its node is lost.
        lingers: How many looks a pod of an earlier try still exists.
        ignores: How many requests get no answer, after the first one.
        refuses: HTTP statuses of the first answers, to whatever request.
        create_status: HTTP status of the answer to the request for a pod.
        loses_creation: The first request for a pod creates it and gets an error for an answer.
        events: The namespace's events.
        calls: Method and path of each request.
        pod: The pod that was created.
    """

    statuses: list[Status | None]
    logs: list[str] = field(default_factory=lambda: [""])
    is_deleted: bool = False
    lingers: int = 0
    ignores: int = 0
    refuses: list[int] = field(default_factory=list)
    create_status: int = 201
    loses_creation: bool = False
    events: list[dict[str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    pod: dict[str, Any] | None = None
    deleted: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def serving(self, folder: Path) -> Iterator[Path]:
        """Serve; yield the path of a kubeconfig."""
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                cluster.answer(self)

            do_POST = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            path = folder / "kubeconfig"
            address = f"http://127.0.0.1:{server.server_port}"
            path.write_text(KUBECONFIG.replace("SERVER", address), encoding="utf-8")
            try:
                yield path
            finally:
                server.shutdown()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        url = urlsplit(request.path)
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.calls.append(f"{request.command} {url.path}")
        if self.ignores and len(self.calls) > 1:
            self.ignores -= 1
            self.deleted.wait(60)
        elif self.refuses:
            self.send(request, self.refuses.pop(0), {"message": "etcdserver: leader changed"})
        elif request.command == "POST" and self.create_status != 201:
            self.send(request, self.create_status, {"message": "pods is forbidden: exceeded quota"})
        elif request.command == "POST" and self.pod is not None:
            self.send(request, 409, {"message": "pods already exists"})
        elif request.command == "POST":
            self.pod = json.loads(body)
            self.pod["metadata"]["uid"] = UID
            self.send(request, 504 if self.loses_creation else 201, self.pod)
        elif request.command == "DELETE":
            if self.pod is not None:
                self.deleted.set()
            self.send(request, 200, {})
        elif url.path.endswith("/events"):
            (selector,) = parse_qs(url.query)["fieldSelector"]
            events = [event for event in self.events if selected(event, selector)]
            self.send(request, 200, {"kind": "EventList", "items": events})
        elif url.path.endswith("/log"):
            self.send_log(request, parse_qs(url.query).get("follow") == ["True"])
        else:
            self.send_pod(request)

    def send_pod(self, request: BaseHTTPRequestHandler) -> None:
        """The pod, or that there is none."""
        if self.pod is None:
            self.lingers -= 1
            status: Status | None = RUNNING if self.lingers >= 0 else None
        else:
            status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status is None:
            self.send(request, 404, {"message": "not found"})
        else:
            pod = self.pod or {"metadata": {"name": "old"}}
            deleted = {"deletionTimestamp": "2026-11-26T02:00:00Z"} if self.is_deleted else {}
            self.send(request, 200, pod | {"metadata": pod["metadata"] | deleted, "status": status})

    def send_log(self, request: BaseHTTPRequestHandler, follow: bool) -> None:
        """The log; with the word WAITS in it, it stays open until the pod is deleted."""
        last = len(self.logs) == 1
        text = self.logs[0] if last else self.logs.pop(0)
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        data = text.encode()
        request.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if data else b"")
        request.wfile.flush()
        if follow and "WAITS" in text:
            self.deleted.wait(60)
        if last:
            request.wfile.write(b"0\r\n\r\n")
        request.close_connection = True

    def send(self, request: BaseHTTPRequestHandler, status: int, body: Any) -> None:
        """An answer in JSON."""
        data = json.dumps(body).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)
