"""A runner on the tiny repository, in a process of its own."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from tests.docker.conftest import docker
from tests.kubernetes.cluster import NAMESPACE, Cluster
from tests.paths import ROOT
from tests.pipelines.conftest import AIRFLOW_PYTHON, Repository, measured_python


@contextmanager
def runner_process(python: list[str], request: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A runner's work in a process of its own, as Airflow's task runs it; killed at the end of the block.

    Args:
        python: The words that start the Python that has what the runner imports.
        request: What drive_runner.py reads.
        variables: The process's environment, besides that of the tests.
    """
    with subprocess.Popen(
        [*python, "-m", "tests.pipelines.drive_runner"],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(request)
        process.stdin.close()
        # What hangs ends in an error of this test, not of all of them.
        watchdog = threading.Timer(300, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


class Driven:
    """A runner on the tiny repository, in a process that a test can look at, talk to and stop."""

    def __init__(self, kind: str, repository: Repository, cluster: Cluster | None = None) -> None:
        self.kind, self.repository, self.cluster = kind, repository, cluster
        self.python = measured_python() if kind == "process" else [str(AIRFLOW_PYTHON)]
        self.environment: dict[str, str] = {}
        self.config: dict[str, Any] = {}
        if cluster is not None:
            self.environment["KUBECONFIG"] = str(cluster.kubeconfig)
            self.config = {"namespace": NAMESPACE, "claim": "convoy", "images": cluster.images}

    @contextmanager
    def started(
        self, stage: str, cancel_at: str = "", settings: dict[str, Any] | None = None, **variables: str
    ) -> Iterator[subprocess.Popen[str]]:
        environment_of_work = {
            key: value
            for key, value in self.repository.environment("stage").items()
            if key.startswith("CONVOY_") and key != "CONVOY_RESULT"
        }
        params = (self.repository.root / "params.yaml").read_text(encoding="utf-8")
        environment_of_work |= {
            "CONVOY_STAGE": stage,
            "CONVOY_PARAMS": params,
            "CONVOY_RUN": "run-1",
        } | variables
        shared = self.repository.shared
        request = {
            "runner": self.kind,
            "cancel_at": cancel_at,
            "name": self.name(stage),
            "variables": environment_of_work,
            "settings": settings or {},
            "config": {
                "repository": str(self.repository.root),
                "cache": str(shared / "cache"),
                "state": str(shared / "state"),
                "data": "",
                "python": sys.executable,
                "images": "convoy/{target}:test",
                **self.config,
            },
        }
        text = self._seen_from_inside(request)
        # Airflow's own variables hold its keys; what the work says takes precedence over the other.
        environment = {"GREETING": "of the host", "AIRFLOW__API__SECRET_KEY": "secret"}
        # Airflow makes itself a home otherwise, in the user's.
        environment["AIRFLOW_HOME"] = str(shared / "airflow")
        with runner_process(self.python, text, **environment, **self.environment) as process:
            yield process

    def __call__(self, stage: str, **options: Any) -> tuple[dict[str, Any], str]:
        """The work's result, and what was logged."""
        with self.started(stage, **options) as process:
            return ended(process)

    def name(self, stage: str) -> str:
        return f"convoy-{self.repository.root.parent.name}-{stage.replace('@', '-')}"

    @property
    def missing_image(self) -> str:
        """An image that its registry says it does not have."""
        return f"{self.cluster.registry}/convoy/none:latest" if self.cluster else "convoy/none:latest"

    def _seen_from_inside(self, request: dict[str, Any]) -> str:
        """The request with paths as a worker has them."""
        text = json.dumps(request)
        if self.cluster is None:
            return text
        self.cluster.own(self.repository.root.parent)
        return text.replace(str(self.cluster.volume), "/convoy")

    def remains(self, stage: str) -> list[str]:
        """What there still is of a work that was cancelled: clones, and containers, running or not."""
        remaining = []
        if self.kind == "docker":
            words = ["docker", "ps", "--all", "--quiet", "--filter", f"name={self.name(stage)}"]
            remaining += subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
        if self.cluster is not None:
            # Before the clones: a pod that is being deleted removes its own.
            remaining += self.cluster.pods_that_stay()
        remaining += [path.name for path in (self.repository.shared / "work").glob("*")]
        return remaining

    def remove(self, stage: str) -> None:
        """Remove the container or the pod of a work, as a person would."""
        if self.cluster is not None:
            self.cluster.kubectl("--namespace", NAMESPACE, "delete", "pod", *self.cluster.pods())
        else:
            docker("rm", "--force", self.name(stage))


def ended(process: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    process.wait()
    assert lines[-1].startswith("{"), "\n".join(lines)
    return json.loads(lines[-1]), "\n".join(lines[:-1])


def upto(output: IO[str], word: str) -> str:
    """The next line with this word: read while the work goes on, so it is there before its end."""
    return next(line for line in output if word in line)


def params(repository: Repository, **of_a: Any) -> dict[str, str]:
    return {"CONVOY_PARAMS": json.dumps({"base": 1, "models": {"a": of_a, "b": {"c": 1}}})}
