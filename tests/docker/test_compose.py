import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.conftest import ROOT

SECRETS = ("PASSWORD", "KEY", "SECRET")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of docker/ in a repository of its own, with a `docker` that only knows its version."""
    shutil.copytree(
        ROOT / "docker", tmp_path / "repository" / "docker", ignore=shutil.ignore_patterns(".env*")
    )
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path / "repository", check=True)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "docker").write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    (programs / "docker").chmod(0o755)
    return tmp_path / "repository"


def _up(checkout: Path) -> str:
    path = f"{checkout.parent / 'programs'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["docker/up.sh"],
        cwd=checkout,
        env={**os.environ, "PATH": path},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def _composed(checkout: Path) -> dict[str, Any]:
    if not shutil.which("docker-compose"):
        pytest.skip("docker-compose is not installed (Debian: apt-get install docker-compose)")
    words = ["docker-compose", "--file", "docker/compose.yaml", "--env-file", "docker/.env", "config"]
    done = subprocess.run(words, cwd=checkout, check=True, capture_output=True, text=True)
    found: dict[str, Any] = yaml.safe_load(done.stdout)
    return found


def test_the_first_start_makes_passwords_that_nobody_else_reads_and_keeps_them(checkout: Path) -> None:
    said = _up(checkout)
    path = checkout / "docker" / ".env"
    values = dict(line.split("=", 1) for line in path.read_text("utf-8").splitlines())
    secrets = [value for name, value in values.items() if name.endswith(SECRETS)]
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(set(secrets)) == len(secrets) == 7
    assert min(map(len, secrets)) >= 32
    assert values["AIRFLOW_ADMIN_PASSWORD"] in said
    assert _up(checkout) == said


def test_git_ignores_the_passwords() -> None:
    subprocess.run(["git", "check-ignore", "--quiet", "docker/.env"], cwd=ROOT, check=True)


def test_ports_are_open_to_this_machine_alone(checkout: Path) -> None:
    _up(checkout)
    services = _composed(checkout)["services"]
    ports = [str(port) for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_only_the_proxy_has_the_engine_and_only_the_scheduler_the_proxy(checkout: Path) -> None:
    _up(checkout)
    services = _composed(checkout)["services"]
    assert {name for name, one in services.items() if "docker.sock" in str(one.get("volumes"))} == {"proxy"}
    assert {name for name, one in services.items() if "engine" in one["networks"]} == {"proxy", "scheduler"}
    # What a stage's container can reach.
    assert {name for name, one in services.items() if "tasks" in one["networks"]} == {"mlflow"}


def test_no_service_of_ours_has_capabilities(checkout: Path) -> None:
    _up(checkout)
    services = _composed(checkout)["services"]
    assert all(one["cap_drop"] == ["ALL"] for name, one in services.items() if name != "postgres")
