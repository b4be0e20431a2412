"""What needs no Airflow of `make airflow`; the rest is in e2e."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import local
from tests.paths import ROOT


def test_what_is_not_installed_is_named_in_one_line(tmp_path: Path) -> None:
    """The stages' Python has no Airflow beside it."""
    words = [sys.executable, "-m", "pipelines.local"]
    environment = {**os.environ, "CONVOY_STATE": str(tmp_path / "state")}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    missing = Path(sys.executable).with_name("airflow")
    assert done.stderr == f"error: {missing} is missing; `make airflow` installs it and starts this\n"
    assert not (tmp_path / "state").exists()


def test_a_port_in_use_is_named_beside_its_replacement(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        used = other.getsockname()[1]
        free = local._free_port("Airflow", used)
    assert used < free < used + 100
    assert capsys.readouterr().out == f"Port {used} is in use; Airflow gets port {free}\n"


@pytest.mark.parametrize("port", ["0", "-1", "65536", "http"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    words = [sys.executable, "-m", "pipelines.local", "--port", port]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{port} is no port; allowed: 1 to 65535" in done.stderr
