"""The contract of a runner: each is put to the same questions."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import pytest

from tests.docker.conftest import base_image, engine, image, proxy_image, started_proxy  # noqa: F401
from tests.pipelines.conftest import ROOT, Repository

AIRFLOW = ROOT / ".venv-airflow" / "bin" / "python"
pytestmark = pytest.mark.slow


class Driven:
    """A runner on the tiny repository, in a process that a test can look at, talk to and stop."""

    def __init__(self, kind: str, repository: Repository) -> None:
        self.kind, self.repository = kind, repository
        self.python = sys.executable if kind == "process" else str(AIRFLOW)
        self.environment: dict[str, str] = {}

    @contextmanager
    def started(self, stage: str, cancel_at: str = "", **variables: str) -> Iterator[subprocess.Popen[str]]:
        given = {
            key: value
            for key, value in self.repository.environment("stage").items()
            if key.startswith("CONVOY_") and key != "CONVOY_RESULT"
        }
        params = (self.repository.root / "params.yaml").read_text(encoding="utf-8")
        given |= {"CONVOY_STAGE": stage, "CONVOY_PARAMS": params, "CONVOY_RUN": "run-1"} | variables
        shared = self.repository.shared
        asked = {
            "runner": self.kind,
            "cancel_at": cancel_at,
            "name": self.name(stage),
            "variables": given,
            "config": {
                "repository": str(self.repository.root),
                "cache": str(shared / "cache"),
                "state": str(shared / "state"),
                "data": "",
                "python": sys.executable,
                "images": "convoy/{target}:test",
            },
        }
        # Airflow's own variables hold its keys; the other stands below what the work says.
        environment = {"GREETING": "of the host", "AIRFLOW__API__SECRET_KEY": "secret"}
        # Airflow makes itself a home otherwise, in the user's.
        environment["AIRFLOW_HOME"] = str(shared / "airflow")
        with subprocess.Popen(
            [self.python, "-m", "tests.pipelines.drive_runner"],
            cwd=ROOT,
            env={**os.environ, **environment, **self.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdin is not None
            process.stdin.write(json.dumps(asked))
            process.stdin.close()
            # What hangs ends in an error of this test, not of all of them.
            watchdog = threading.Timer(300, process.kill)
            watchdog.start()
            try:
                yield process
            finally:
                watchdog.cancel()

    def __call__(self, stage: str, **asked: str) -> tuple[dict[str, Any] | None, str]:
        """The work's result, and what was logged."""
        with self.started(stage, **asked) as process:
            return ended(process)

    def name(self, stage: str) -> str:
        return f"convoy-{self.repository.root.parent.name}-{stage.replace('@', '-')}"

    def remains(self, stage: str) -> list[str]:
        """What there still is of a work that was cancelled: clones, and containers, running or not."""
        left = [path.name for path in (self.repository.shared / "work").glob("*")]
        if self.kind == "docker":
            words = ["docker", "ps", "--all", "--quiet", "--filter", f"name={self.name(stage)}"]
            left += subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
        return left


def ended(process: subprocess.Popen[str]) -> tuple[dict[str, Any] | None, str]:
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    process.wait()
    assert lines[-1].startswith(("{", "null")), "\n".join(lines)
    return json.loads(lines[-1]), "\n".join(lines[:-1])


def upto(output: IO[str], word: str) -> str:
    """The next line with this word: read while the work goes on, so it is there before its end."""
    return next(line for line in output if word in line)


@pytest.fixture(params=["process", "docker", "docker behind the proxy"])
def driven(request: pytest.FixtureRequest, repository: Repository) -> Iterator[Driven]:
    driven = Driven(request.param.partition(" ")[0], repository)
    if driven.kind == "docker":
        if not AIRFLOW.exists():
            pytest.skip("Airflow is not installed; `make e2e-airflow` does it")
        request.getfixturevalue("image")
    if not request.param.endswith("proxy"):
        yield driven
        return
    with started_proxy(
        request.getfixturevalue("proxy_image"),
        HOME=str(repository.shared),
        REPOSITORY=str(repository.root),
        DATA="/nowhere",
        UID=str(os.getuid()),
        GID=str(os.getgid()),
        DOCKER_NETWORK="host",
        STACK=repository.root.parent.name,
        IMAGES="convoy/data:test",
    ) as proxy:
        driven.environment = {"DOCKER_HOST": f"tcp://{proxy.address}"}
        yield driven


def params(repository: Repository, **of_a: Any) -> dict[str, str]:
    return {"CONVOY_PARAMS": json.dumps({"base": 1, "models": {"a": of_a, "b": {"c": 1}}})}


def test_the_same_command_with_the_works_variables_above_all_others(driven: Driven) -> None:
    driven.repository.write(
        "dvc.yaml", 'stages:\n  show:\n    cmd: env && echo "cwd $(pwd)"\n    always_changed: true\n'
    )
    driven.repository.commit()
    result, said = driven("show", GREETING="of the run")
    assert result is not None
    assert result["outcome"] == "ran"
    assert "GREETING=of the run" in said
    assert "CONVOY_RUN=run-1" in said
    assert "AIRFLOW" not in said, "what can open Airflow is none of a stage's business"
    assert "CONVOY_CHECKPOINTS=" in said
    assert re.search(r"cwd \S+/clone\b", said), "a clone of its own"


def test_how_it_ended_is_the_result(driven: Driven) -> None:
    assert (driven("first")[0] or {})["outcome"] == "ran"
    again, _ = driven("first")
    assert again is not None
    assert (again["outcome"], again["reason"]) == (
        "restored",
        "ran before with the same code, params and inputs",
    )
    refused, _ = driven("train@a", **params(driven.repository, fails=True))
    assert refused is not None
    assert refused["outcome"] == "refused"
    assert 'the member is told to "fail"' in refused["reason"]
    crashed, _ = driven("train@a", **params(driven.repository, crashes=True))
    assert crashed is not None
    assert crashed["outcome"] == "failed"


def test_lines_come_while_it_runs_and_cancelling_ends_all(driven: Driven) -> None:
    with driven.started("train@a", **params(driven.repository, waits=600)) as process:
        assert process.stdout is not None
        upto(process.stdout, "waiting")
        process.send_signal(signal.SIGTERM)
        result, _ = ended(process)
    # A container is removed with whatever it would have said.
    assert result is None or result["outcome"] == "stopped"
    assert driven.remains("train@a") == []
    resumed, _ = driven("train@a", **params(driven.repository, waits=600))
    assert resumed is not None, "the next try goes on from the checkpoint instead of waiting"
    assert resumed["outcome"] == "ran"


def test_cancelling_in_the_midst_of_a_line_ends_all(driven: Driven) -> None:
    result, said = driven("train@a", cancel_at="waiting", **params(driven.repository, waits=600))
    assert "waiting" in said
    assert result is None or result["outcome"] == "stopped"
    assert driven.remains("train@a") == []


def test_an_unknown_runner_is_refused_with_those_there_are() -> None:
    from pipelines import runners
    from pipelines.config import Config

    with pytest.raises(ValueError, match="runner is podman; allowed: docker, kubernetes, process"):
        runners.create("podman", Config())
