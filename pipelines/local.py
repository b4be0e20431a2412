"""`make airflow`: Airflow and MLflow on this machine without containers, until Ctrl-C.

Airflow's own `standalone` would do most of it, but it leaves its children running when it is killed, and it
does not start MLflow. Here each program is started separately and ends within seconds of SIGTERM.
"""

import argparse
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from pipelines.config import CODE, load
from pipelines.parts import Parts
from pipelines.postgres import DEADLOCK_TIMEOUT, Postgres


def main() -> None:
    """Start everything, print where it is, wait for Ctrl-C or SIGTERM, stop everything."""
    options = _options()
    for program in (*_AIRFLOW, load().python):
        if shutil.which(program) is None:
            sys.exit(f"error: {program} is missing; `make airflow` installs it and starts this")
    # CONVOY_STATE is a folder as tasks see it: of pods, one on their claim.
    state = CODE / ".convoy" if load().claim else Path(load().state)
    logs = state / "airflow" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    lock = _exclusive_lock(state / "airflow" / "lock")
    airflow = f"http://127.0.0.1:{_free_port('Airflow', options.port)}"
    mlflow_port = _free_port("MLflow", options.mlflow_port, options.mlflow_address)
    mlflow = f"http://{options.mlflow_address}:{mlflow_port}"
    credentials = _credentials(state / "airflow" / "secrets.json")
    # Any port: people do not see it, and two starts at once do not get the same.
    postgres = Postgres(state / "airflow", _free_port("PostgreSQL", 0))
    postgres.prepare()
    environment = _environment(state, airflow, mlflow, postgres.url(), credentials)
    if (earlier := state / "airflow" / "airflow.db").exists():
        _print(
            f"Not read: {earlier}, the runs of earlier versions in SQLite; delete it when they are not needed"
        )
    # SIGINT too: a program that a script starts with `&` ignores it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    parts = Parts(environment, logs)
    try:
        _start(parts, postgres, airflow, mlflow, environment)
        _print(f"Airflow  {airflow}  user admin, password {credentials['password']}")
        _print(f"MLflow   {mlflow}")
        _print(f"Logs     {logs}")
        _print("Ctrl-C stops both.")
        while True:
            parts.check()
            time.sleep(1)
    except KeyboardInterrupt:
        _print("Stopping")
    finally:
        parts.stop()
        lock.close()


# It would listen to the whole network; the API server reads the logs from disk.
_NO_LOG_SERVER = ["--skip-serve-logs"]
_AIRFLOW = [str(Path(sys.executable).with_name("airflow"))]


def _start(
    parts: Parts, postgres: Postgres, airflow: str, mlflow: str, environment: Mapping[str, str]
) -> None:
    """Start all programs, and wait until they answer."""
    parts.start("postgres", postgres.words(), ends_last=True)
    parts.start("mlflow", _mlflow(mlflow), ends_last=True)
    _print("Preparing Airflow's database")
    parts.wait_until(postgres.answers, "postgres")
    subprocess.run([*_AIRFLOW, "db", "migrate"], env=environment, check=True, stdout=subprocess.DEVNULL)
    # The folder's lock proves that an earlier scheduler has ended; the next one takes over its tasks.
    postgres.execute("UPDATE job SET state = 'failed' WHERE state = 'running'")
    port = airflow.rpartition(":")[2]
    words = [*_AIRFLOW, "api-server", "--port", port, "--host", "127.0.0.1"]
    parts.start("api-server", words, DEADLOCK_TIMEOUT)
    parts.start("dag-processor", [*_AIRFLOW, "dag-processor"])
    parts.start("triggerer", [*_AIRFLOW, "triggerer", *_NO_LOG_SERVER])
    parts.wait_for(f"{airflow}/api/v2/monitor/health")
    parts.wait_for(f"{mlflow}/health")
    # Last: tasks left over from an earlier start begin at once, and fail where these two do not answer.
    parts.start("scheduler", [*_AIRFLOW, "scheduler", *_NO_LOG_SERVER])
    parts.wait_for(f"{airflow}/api/v2/monitor/health", _scheduler_is_healthy)


def _mlflow(url: str) -> list[str]:
    """MLflow's server, on the database and the artifacts of the working tree: those of `make run`."""
    address, _, port = url.removeprefix("http://").rpartition(":")
    words = ["-m", "mlflow", "server", "--host", address, "--workers", "1", "--serve-artifacts"]
    places = ["--backend-store-uri", f"sqlite:///{CODE}/mlflow.db"]
    return [load().python, *words, "--port", port, *places, "--artifacts-destination", f"{CODE}/mlartifacts"]


def _environment(
    state: Path, airflow: str, mlflow: str, database: str, credentials: Mapping[str, str]
) -> dict[str, str]:
    """The environment of all programs; variables that the user has set override the defaults."""
    home = state / "airflow"
    passwords = home / "passwords.json"
    _write(passwords, {"admin": credentials["password"]})
    defaults = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(CODE / "pipelines" / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": str(max(4, os.cpu_count() or 1)),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{airflow}/execution/",
        "AIRFLOW__API__BASE_URL": airflow,
        "AIRFLOW__API__SECRET_KEY": credentials["secret_key"],
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": credentials["jwt_secret"],
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        # A day: after its laptop slept, a scheduler would take itself for dead and its tasks for lost.
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "86400",
        # A machine that trains answers slowly; by default a task fails after 3 answers that take over 5 s.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
        "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "30",
        # Seconds until the end of a task is noticed: with the default of 5, a run of 14 skips took a minute.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__TRIGGERER__CAPACITY": "100",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONUNBUFFERED": "1",
    }
    fixed = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        # The second has the settings that Airflow imports by name.
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(CODE), str(CODE / "pipelines" / "policy"), os.environ.get("PYTHONPATH")])
        ),
        "MLFLOW_TRACKING_URI": mlflow,
        "CONVOY_MLFLOW_URL": mlflow,
        "CONVOY_AIRFLOW_URL": airflow,
        "CONVOY_AIRFLOW_LOGIN": f"admin:{credentials['password']}",
    }
    return defaults | os.environ | fixed


def _credentials(path: Path) -> dict[str, str]:
    """Password and keys, generated at the first start."""
    if not path.exists():
        _write(path, {name: secrets.token_urlsafe(24) for name in ("password", "secret_key", "jwt_secret")})
    credentials: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return credentials


def _write(path: Path, value: dict[str, str]) -> None:
    """Write a file that only this user can read, from its first byte."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(value, file)


def _exclusive_lock(path: Path) -> IO[str]:
    """Lock this working tree's Airflow: two schedulers would take each other's tasks for lost."""
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"error: Airflow already runs on this folder: {path.parent}")
    return lock


def _scheduler_is_healthy(text: bytes) -> bool:
    """Whether Airflow's health page says that the scheduler sends heartbeats."""
    return bool(json.loads(text)["scheduler"]["status"] == "healthy")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make airflow", description=main.__doc__)
    parser.add_argument("--port", type=_port, default=8080, help="of Airflow; the next free port if in use")
    parser.add_argument("--mlflow-port", type=_port, default=5000, help="of MLflow; likewise")
    parser.add_argument(
        "--mlflow-address",
        default="127.0.0.1",
        help="this machine's address that pods reach; MLflow asks for no login there",
    )
    return parser.parse_args()


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port; allowed: 1 to 65535")
    return int(text)


def _free_port(program: str, wanted: int, address: str = "127.0.0.1") -> int:
    """The wanted port, or the next free port, which is said; of 0, any free port."""
    last = min(wanted + 99, 65535)
    for port in range(wanted, last + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                continue
            if port != wanted:
                _print(f"Port {wanted} is in use; {program} gets port {port}")
            return int(probe.getsockname()[1])
    sys.exit(f"error: {address} has no free port from {wanted} to {last}, or is not this machine's address")


def _print(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
