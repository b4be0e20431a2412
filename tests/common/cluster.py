"""A scheduler and workers of Dask, as processes: the commands are those of docs/scale_data.md."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Client

from tests.paths import ROOT
from tests.ports import free_port

# The scheduler takes a worker for lost after as many seconds; Dask allows no fewer than 5.
TTL = 5
# A busy machine, or a paused virtual one, may take half a minute to answer.
PATIENCE = 120


@dataclass
class Cluster:
    """Its processes by name; each worker has a folder of its own, and sees neither source nor results."""

    folder: Path
    port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def complete(self) -> None:
        """Start what does not run of the scheduler and two workers."""
        if "scheduler" not in self.processes:
            self.start_scheduler()
        for name, threads in (("first", 1), ("second", 2)):
            if name not in self.processes:
                self.start_worker(name, threads=threads)
        self.wait(2)

    def start_scheduler(self) -> None:
        self._start("scheduler", ["scheduler", "--port", str(self.port)], ROOT)

    def start_worker(self, name: str, code: Path = ROOT, threads: int = 1) -> None:
        """Start a worker that imports the stages of the folder `code`."""
        words = ["--name", name, "--nthreads", str(threads), "--no-nanny", "--memory-limit", "0"]
        self._start(name, ["worker", self.address, *words], code)

    def wait(self, workers: int) -> None:
        with Client(self.address, timeout=PATIENCE, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=PATIENCE)

    def signal(self, name: str, number: signal.Signals) -> None:
        self.processes[name].send_signal(number)

    def stop(self, *names: str) -> None:
        """End processes, also those that do not answer."""
        for name in names or [*self.processes]:
            process = self.processes.pop(name)
            process.kill()
            process.wait()

    def _start(self, name: str, words: list[str], code: Path) -> None:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        words += ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
        variables = {
            "PYTHONPATH": str(code),
            "CONVOY_IMAGE_RESULTS": str(folder / "unused"),
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{TTL}s",
            # Workers that die in one call before it fails, beside the last.
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "dask", *words],
                cwd=folder,
                env=os.environ | variables,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
