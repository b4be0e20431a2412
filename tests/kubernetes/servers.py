"""Servers that pods call: git over HTTPS and over SSH, S3, MLflow. Each pod finds them under any name."""

import base64
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

GIT_HOST = "git.example.com"
# Of `uv tool run`: an environment of its own, as nothing else here needs it.
MOTO = "moto[server]==5.1.18"


def bare(repository: Path, folder: Path) -> Path:
    """Clone a repository without a workspace, as servers have them."""
    target = folder / "project.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", str(repository), str(target)], check=True)
    return target


@contextmanager
def git_over_https(host: str, root: Path, login: str) -> Iterator[Path]:
    """Serve the repositories below `root` at https://git.example.com, for one login only.

    Args:
        host: The address to listen at.
        root: The folder of the repositories.
        login: USER:PASSWORD.

    Yields:
        The certificate that clients have to trust.
    """
    certificate, key = root / "git.crt", root / "git.key"
    names = ["-subj", f"/CN={GIT_HOST}", "-addext", f"subjectAltName=DNS:{GIT_HOST}"]
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run([*words, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    expected = "Basic " + base64.b64encode(login.encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                # git takes a connection that ends without it for a broken one.
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            variables = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REMOTE_USER": login.partition(":")[0],
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                # Pods write as another user than this one.
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
            }
            done = subprocess.run(
                ["git", "http-backend"], env=variables, input=self._body(), capture_output=True, check=False
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            for name, value in (fields | {"Content-Length": str(len(content))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, *_: object) -> None: ...

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer((host, 443), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield certificate
        finally:
            server.shutdown()


@contextmanager
def git_over_ssh(host: str, folder: Path) -> Iterator[tuple[Path, Path]]:
    """Serve this machine's repositories at ssh://git.example.com.

    Args:
        host: The address to listen at.
        folder: A folder for keys.

    Yields:
        The private key that clients log in with, and their known_hosts.
    """
    for name in ("host", "key"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(words, check=True)
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(f"{GIT_HOST} {(folder / 'host.pub').read_text()}", encoding="utf-8")
    settings = {
        "ListenAddress": f"{host}:22",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "key.pub",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "yes",
        # The folder is the test's, below one that all may write to.
        "StrictModes": "no",
        "PidFile": "none",
    }
    config = folder / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()), encoding="utf-8")
    Path("/run/sshd").mkdir(exist_ok=True)
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert sshd is not None
    with _serving([sshd, "-D", "-e", "-f", str(config)], host, 22, folder / "sshd.log"):
        yield folder / "key", known_hosts


@contextmanager
def s3(host: str, folder: Path) -> Iterator[str]:
    """Serve S3, with one empty bucket, `convoy`. Yields its address."""
    port = 9000
    words = [
        "uv",
        "tool",
        "run",
        "--quiet",
        "--from",
        MOTO,
        "moto_server",
        "--host",
        host,
        "--port",
        str(port),
    ]
    with _serving(words, host, port, folder / "moto.log"):
        subprocess.run(
            ["curl", "--fail", "--silent", "--request", "PUT", f"http://{host}:{port}/convoy"], check=True
        )
        yield f"http://{host}:{port}"


@contextmanager
def mlflow(host: str, folder: Path) -> Iterator[str]:
    """Serve MLflow at port 5000 under any name. Yields its address."""
    words = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", "5000", "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--allowed-hosts", "*"]
    words += ["--artifacts-destination", str(folder / "artifacts")]
    words = ["env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false", "MLFLOW_DISABLE_TELEMETRY=true", *words]
    with _serving(words, host, 5000, folder / "mlflow.log"):
        yield f"http://{host}:5000"


@contextmanager
def _serving(words: list[str], host: str, port: int, log: Path) -> Iterator[None]:
    """Run a server in the background; go on when it listens."""
    with (
        log.open("wb") as file,
        subprocess.Popen(words, stdout=file, stderr=file, process_group=0) as process,
    ):
        try:
            deadline = time.monotonic() + 300
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex((host, port)) == 0:
                        break
                assert process.poll() is None, log.read_text(encoding="utf-8")
                assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
                time.sleep(0.2)
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
