"""The database server of `make airflow`: closed to others, and unharmed by kills."""

import json
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import psycopg2
import pytest

from pipelines.postgres import DEADLOCK_TIMEOUT
from tests.paths import ROOT
from tests.pipelines.conftest import AIRFLOW_PYTHON
from tests.pipelines.e2e.client import wait_until
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("airflow_environment")]

PREPARE = """
import json, pathlib, sys
from pipelines.postgres import Postgres
server = Postgres(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
server.prepare()
print(json.dumps({"words": server.words(), "url": server.url()}))
"""
# Root without its name: what reaches the folders of tests and Python, and is another user to PostgreSQL.
SOMEONE = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
]


class Server:
    """A data folder, and the server that was started on it last."""

    def __init__(self, home: Path, user: list[str]) -> None:
        self.home, self._user = home, user
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def prepares(self) -> list[str]:
        """What `make airflow` does before it starts the server; returns the command."""
        done = subprocess.run(
            [*self._user, AIRFLOW_PYTHON, "-c", PREPARE, self.home, str(self.port)],
            cwd=ROOT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        prepared = json.loads(done.stdout)
        self.url = prepared["url"].replace("+psycopg2", "")
        words: list[str] = prepared["words"]
        return words

    def starts(self) -> None:
        words = [*self._user, *self.prepares()]
        log = self.home.with_suffix(".log")
        with log.open("ab") as file:
            self.process = subprocess.Popen(words, stdout=file, stderr=file, cwd="/")
        wait_until(lambda: self.answers() or self._has_ended(), 60, "the server's answer")
        assert not self._has_ended(), log.read_text(encoding="utf-8")

    def answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    def execute(self, statement: str) -> None:
        with closing(psycopg2.connect(self.url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement)

    def kill(self) -> None:
        """As an emergency does; its own children notice."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait(60)
        psutil.wait_procs(children, timeout=60)

    def _has_ended(self) -> bool:
        return self.process.poll() is not None


@contextmanager
def running(home: Path, user: list[str]) -> Iterator[Server]:
    server = Server(home, user)
    server.starts()
    yield server
    if server.process.poll() is None:
        server.process.terminate()
        assert server.process.wait(60) == 0


@pytest.fixture(params=["this user", "another user"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server in a folder that only this user may enter, with a path too long for a socket."""
    user: list[str] = []
    home = tmp_path / ("x" * 120) / "airflow"
    home.mkdir(parents=True)
    tmp_path.chmod(0o700)
    if request.param == "another user":
        if os.geteuid():
            pytest.skip("only root can be two users")
        user = SOMEONE
        os.chown(home, 65534, 65534)
    with running(home, user) as server:
        yield server


def test_a_deadlock_cancels_the_side_that_tries_again(tmp_path: Path) -> None:
    """A cancel in Airflow's UI got HTTP 500: the side that waits first is cancelled first."""
    with running(tmp_path / "airflow", []) as server:
        server.execute("CREATE TABLE rows AS SELECT * FROM generate_series(1, 2) AS number")
        options = DEADLOCK_TIMEOUT["PGOPTIONS"]
        with (
            closing(psycopg2.connect(server.url, options=options)) as api,
            closing(psycopg2.connect(server.url)) as scheduler,
            api.cursor() as first,
            scheduler.cursor() as second,
            ThreadPoolExecutor(1) as thread,
        ):
            update = "UPDATE rows SET number = number WHERE number = %s"
            first.execute(update, (1,))
            second.execute(update, (2,))
            waiting = thread.submit(first.execute, update, (2,))
            blocked = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
            with closing(psycopg2.connect(server.url)) as watcher, watcher.cursor() as look:

                def is_blocked() -> bool:
                    look.execute(blocked, (api.info.backend_pid,))
                    return bool(look.fetchone()[0])

                watcher.autocommit = True
                wait_until(is_blocked, 10, "the wait of the API")
            with pytest.raises(psycopg2.errors.DeadlockDetected):
                second.execute(update, (1,))
            scheduler.rollback()
            assert waiting.result(30) is None


def test_only_this_machine_and_only_with_the_password(server: Server) -> None:
    addresses = {
        connection.laddr.ip
        for connection in psutil.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == server.port
    }
    assert addresses == {"127.0.0.1"}
    assert not Path(f"/tmp/.s.PGSQL.{server.port}").exists()
    password = (server.home / "postgres-18" / "password").read_text(encoding="utf-8")
    for wrong in ("", "wrong"):
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(server.url.replace(password, wrong))
    assert not any(password in word for word in psutil.Process(server.process.pid).cmdline())
    for path in (server.home / "postgres-18", server.home / "postgres-18" / "data"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((server.home / "postgres-18" / "password").stat().st_mode) == 0o600


def test_data_outlive_a_kill_and_a_restart_of_the_machine(server: Server) -> None:
    server.execute("CREATE TABLE survives ()")
    server.kill()
    # As after a restart, when another program of the same user has the number of the server that was killed.
    path = server.home / "postgres-18" / "data" / "postmaster.pid"
    rest = path.read_text(encoding="utf-8").split("\n", 1)[1]
    with subprocess.Popen([*(SOMEONE if os.geteuid() == 0 else []), "sleep", "30"]) as other:
        path.write_text(f"{other.pid}\n{rest}", encoding="utf-8")
        server.starts()
        other.kill()
    server.execute("SELECT * FROM survives")


def test_a_server_that_a_killed_start_left_is_replaced(server: Server) -> None:
    server.execute("CREATE TABLE survives ()")
    leftover = server.process
    # The parent takes note of the end, as init does for a server that has lost its own.
    parent = threading.Thread(target=leftover.wait)
    parent.start()
    with closing(psycopg2.connect(server.url)):
        server.starts()
    parent.join(60)
    assert leftover.returncode == 0
    server.execute("SELECT * FROM survives")


def test_a_creation_that_was_killed_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "postgres-18.part" / "data").mkdir(parents=True)
    (tmp_path / "postgres-18.part" / "data" / "PG_VERSION").write_text("18\n")
    with running(tmp_path, []) as server:
        server.execute("SELECT 1")
    assert not (tmp_path / "postgres-18.part").exists()
