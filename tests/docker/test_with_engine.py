import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docker.conftest import ROOT

WITH_ENGINE = ROOT / "docker" / "with-engine.sh"


def _run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    # The engine that runs these tests may have its folder from this variable.
    environment = {**os.environ, "CONVOY_ENGINE": "", **variables}
    return subprocess.run([WITH_ENGINE, *words], env=environment, capture_output=True, text=True, check=False)


def _program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def test_an_engine_in_reach_is_the_one_that_is_used(tmp_path: Path) -> None:
    _program(tmp_path, "docker", "exit 0")
    done = _run(
        "sh",
        "-c",
        "echo $DOCKER_HOST; exit 7",
        PATH=f"{tmp_path}:{os.environ['PATH']}",
        DOCKER_HOST="unix:///mine",
    )
    assert (done.returncode, done.stdout) == (7, "unix:///mine\n")


def test_what_is_missing_is_printed_in_one_line(tmp_path: Path) -> None:
    for name in ("env", "bash", "sh", "id"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    done = _run("true", PATH=str(tmp_path))
    assert done.returncode == 69
    assert done.stderr.count("\n") == 1
    assert "none can be started: " in done.stderr


def test_a_second_engine_gets_a_subnet_of_its_own(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    addresses = "echo '1: convoy1 inet 10.217.0.1/24'; yes '2: other' | head -100000"
    programs = {
        "id": "echo 0",
        "ip": f'echo "$@" >>{calls}; if [ "$1" = -o ]; then {addresses}; fi',
        "docker": "exit 1",
        "dockerd": "echo no engine here; exit 1",
        "iptables": "",
    }
    for name, text in programs.items():
        _program(tmp_path / "programs", name, text)
    done = _run("true", PATH=f"{tmp_path / 'programs'}:{os.environ['PATH']}")
    assert (done.returncode, "dockerd ended: no engine here" in done.stderr) == (69, True)
    assert "address add 10.217.1.1/24" in calls.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_throwaway_engine_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "engine"
    if (probe := _run("true", DOCKER_HOST="unix:///nowhere", CONVOY_ENGINE=str(folder))).returncode == 69:
        pytest.skip(probe.stderr.strip())
    # Without iptables, which lists the rules, no engine starts.
    bridges, rules = _bridges(), _rules()
    # A container in the host's network leaves a mount behind, even if its image has no program to run.
    script = """
        tar --create --files-from /dev/null | docker import - empty >&2
        docker run --network host empty nothing >&2
        docker info --format "{{.DockerRootDir}}"; exit 3"""
    done = _run("sh", "-c", script, DOCKER_HOST="unix:///nowhere", TMPDIR=str(tmp_path))
    root = Path(done.stdout.strip())
    assert done.returncode == 3
    assert root.name == "data"
    assert not root.parent.exists()
    # Another engine may run, whose rules an engine that starts throws away in part.
    assert (_bridges() - bridges, _rules() - rules) == (set(), set())


def _bridges() -> set[str]:
    return {path.name for path in Path("/sys/class/net").glob("convoy*")}


def _rules() -> set[str]:
    """The packet filter's rules for bridges of throwaway engines."""
    words = [["iptables", "--table", table, "--list-rules"] for table in ("filter", "nat")]
    listed = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for command in words]
    return {rule for rules in listed for rule in rules.splitlines() if " convoy" in rule}
