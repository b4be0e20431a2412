"""Real MLflow servers, on SQLite and on PostgreSQL, each with a folder, a port and a database of its own."""

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_port

PATIENCE = 180


@contextmanager
def mlflow_server(store: str, folder: Path) -> Iterator[str]:
    """The address of an `mlflow server` on the store at this URI."""
    port = free_port()
    process = subprocess.Popen(
        [
            *(str(Path(sys.executable).with_name("mlflow")), "server", "--backend-store-uri", store),
            *("--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1"),
            *("--port", str(port), "--workers", "2"),
        ],
        cwd=folder,
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=(folder / "server.log").open("w"),
        start_new_session=True,
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        _wait_for(uri, process, folder / "server.log")
        yield uri
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(PATIENCE)


def _wait_for(uri: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until it answers: its log speaks of running before it listens."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=PATIENCE).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                pytest.fail(
                    f"mlflow server does not answer: {error}; {log.read_text(encoding='utf-8')[-2000:]}"
                )
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
                pytest.fail(f"mlflow server ended: {log.read_text(encoding='utf-8')[-2000:]}")


@contextmanager
def postgres() -> Iterator[str]:
    """The URI of an empty PostgreSQL database that is gone afterwards; skips where it is not installed."""
    pytest.importorskip("psycopg2", reason="psycopg2, MLflow's way to PostgreSQL, is not installed")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not programs:
        pytest.skip("PostgreSQL is not installed")
    # Not in pytest's folder, which is closed to others: PostgreSQL refuses to run as root.
    with tempfile.TemporaryDirectory() as folder:
        data, port, run_as = Path(folder) / "data", free_port(), _another_user(folder)

        def quietly(*words: object) -> None:
            done = subprocess.run(
                [str(word) for word in words], capture_output=True, text=True, cwd="/", check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr

        # Its output would keep the pipe open for as long as the server runs.
        control = [*run_as, programs[-1], "-D", data, "-w", "-l", Path(folder) / "log"]
        quietly(
            *run_as, programs[-1].with_name("initdb"), "-D", data, "-A", "trust", "-U", "mlflow", "--no-sync"
        )
        quietly(*control, "-o", f"-k {folder} -h 127.0.0.1 -p {port} -c fsync=off", "start")
        try:
            quietly(
                programs[-1].with_name("createdb"), "-h", "127.0.0.1", "-p", port, "-U", "mlflow", "mlflow"
            )
            yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/mlflow"
        finally:
            quietly(*control, "-m", "immediate", "stop")


def _another_user(folder: str) -> list[str]:
    """The words that run a command as a user who is not root and owns the folder."""
    if os.geteuid():
        return []
    try:
        owner = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    return ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
