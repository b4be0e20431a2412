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

from tests.docker.conftest import base_image, docker, engine, image, proxy_image, started_proxy  # noqa: F401
from tests.pipelines.conftest import ROOT, Repository, measured_python

AIRFLOW = ROOT / ".venv-airflow" / "bin" / "python"
pytestmark = pytest.mark.slow


class Driven:
    """A runner on the tiny repository, in a process that a test can look at, talk to and stop."""

    def __init__(self, kind: str, repository: Repository) -> None:
        self.kind, self.repository = kind, repository
        self.python = measured_python() if kind == "process" else [str(AIRFLOW)]
        self.environment: dict[str, str] = {}

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
            },
        }
        # Airflow's own variables hold its keys; the other stands below what the work says.
        environment = {"GREETING": "of the host", "AIRFLOW__API__SECRET_KEY": "secret"}
        # Airflow makes itself a home otherwise, in the user's.
        environment["AIRFLOW_HOME"] = str(shared / "airflow")
        with subprocess.Popen(
            [*self.python, "-m", "tests.pipelines.drive_runner"],
            cwd=ROOT,
            env={**os.environ, **environment, **self.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdin is not None
            process.stdin.write(json.dumps(request))
            process.stdin.close()
            # What hangs ends in an error of this test, not of all of them.
            watchdog = threading.Timer(300, process.kill)
            watchdog.start()
            try:
                yield process
            finally:
                watchdog.cancel()

    def __call__(self, stage: str, **options: Any) -> tuple[dict[str, Any], str]:
        """The work's result, and what was logged."""
        with self.started(stage, **options) as process:
            return ended(process)

    def name(self, stage: str) -> str:
        return f"convoy-{self.repository.root.parent.name}-{stage.replace('@', '-')}"

    def remains(self, stage: str) -> list[str]:
        """What there still is of a work that was cancelled: clones, and containers, running or not."""
        remaining = [path.name for path in (self.repository.shared / "work").glob("*")]
        if self.kind == "docker":
            words = ["docker", "ps", "--all", "--quiet", "--filter", f"name={self.name(stage)}"]
            remaining += subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
        return remaining


def ended(process: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    process.wait()
    assert lines[-1].startswith("{"), "\n".join(lines)
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
    result, output = driven("show", GREETING="of the run", CONVOY_DEBUG="1")
    assert result["outcome"] == "ran"
    assert "GREETING=of the run" in output
    assert "CONVOY_RUN=run-1" in output
    assert "CONVOY_DEBUG=1" in output
    assert "AIRFLOW" not in output, "what can open Airflow is none of a stage's business"
    assert "CONVOY_CHECKPOINTS=" in output
    assert re.search(r"cwd \S+/clone\b", output), "a clone of its own"


def test_the_result_says_how_it_ended(driven: Driven) -> None:
    assert driven("first")[0]["outcome"] == "ran"
    again, _ = driven("first")
    assert (again["outcome"], again["reason"]) == (
        "restored",
        "ran before with the same code, params and inputs",
    )
    refused, _ = driven("train@a", **params(driven.repository, fails=True))
    assert refused["outcome"] == "refused"
    assert 'the member is set to "fail"' in refused["reason"]
    crashed, _ = driven("train@a", **params(driven.repository, crashes=True))
    assert crashed["outcome"] == "failed"


def test_a_worker_that_is_killed_leaves_its_last_lines(driven: Driven) -> None:
    """SIGKILL from inside: what the kernel, a person or a lost node does."""
    driven.repository.write(
        "dvc.yaml",
        """
stages:
  kill:
    cmd: echo last words && python -c "import os; os.killpg(0, 9)"
    always_changed: true
""",
    )
    driven.repository.commit()
    result, _ = driven("kill")
    assert result["outcome"] == "failed"
    assert "exit status 137" in result["reason"]
    assert "last words" in result["reason"]


def test_a_stage_out_of_memory_is_reported_with_its_limit(driven: Driven) -> None:
    if driven.kind == "process":
        pytest.skip("the process runner has no memory limit")
    driven.repository.write(
        "dvc.yaml", 'stages:\n  eat:\n    cmd: python -c "[1] * 10**8"\n    always_changed: true\n'
    )
    driven.repository.commit()
    result, _ = driven("eat", settings={"memory": "300Mi"})
    assert result["outcome"] == "failed"
    assert "out of memory (limit 300 MiB)" in result["reason"]


def test_an_image_that_is_missing_and_a_wrong_limit_are_refused(driven: Driven) -> None:
    if driven.kind == "process":
        pytest.skip("the process runner has no images")
    result, _ = driven("first", settings={"image": "convoy/none:latest"})
    assert result["outcome"] == "refused"
    assert "convoy/none" in result["reason"]
    result, _ = driven("first", settings={"memory": "much"})
    assert result["outcome"] == "refused"
    assert "memory is 'much'; allowed: a number with" in result["reason"]


def test_a_container_that_a_person_removes_is_reported(driven: Driven) -> None:
    if driven.kind == "process":
        pytest.skip("the process runner has no container")
    with driven.started("train@a", **params(driven.repository, waits=600)) as process:
        assert process.stdout is not None
        upto(process.stdout, "waiting")
        docker("rm", "--force", driven.name("train@a"))
        result, _ = ended(process)
    assert result["outcome"] == "failed"
    # While Docker removes it, it is for a moment a container that was killed.
    assert re.search(r"removed while it ran|killed \(SIGKILL\) from outside", result["reason"])


def test_lines_come_while_it_runs_and_cancelling_ends_all(driven: Driven) -> None:
    with driven.started("train@a", **params(driven.repository, waits=600)) as process:
        assert process.stdout is not None
        upto(process.stdout, "waiting")
        process.send_signal(signal.SIGTERM)
        result, _ = ended(process)
    assert result["outcome"] == "stopped"
    assert driven.remains("train@a") == []
    resumed, _ = driven("train@a", **params(driven.repository, waits=600))
    assert resumed["outcome"] == "ran", "the next try resumes from the checkpoint instead of waiting"


def test_cancelling_in_the_midst_of_a_line_ends_all(driven: Driven) -> None:
    result, output = driven("train@a", cancel_at="waiting", **params(driven.repository, waits=600))
    assert "waiting" in output
    assert result["outcome"] == "stopped"
    assert driven.remains("train@a") == []


def test_an_unknown_runner_is_refused_with_those_there_are() -> None:
    from pipelines import runners
    from pipelines.config import Config

    with pytest.raises(ValueError, match="runner is podman; allowed: docker, kubernetes, process"):
        runners.create("podman", Config())
