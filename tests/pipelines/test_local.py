"""What needs no Airflow of `make airflow`; the rest is in e2e."""

import os
import subprocess
import sys
from pathlib import Path

from tests.pipelines.conftest import ROOT


def test_what_is_not_installed_is_named_in_one_line(tmp_path: Path) -> None:
    """The stages' Python has no Airflow beside it."""
    words = [sys.executable, "-m", "pipelines.local"]
    environment = {**os.environ, "CONVOY_STATE": str(tmp_path / "state")}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    missing = Path(sys.executable).with_name("airflow")
    assert done.stderr == f"error: {missing} is missing; `make airflow` installs it and starts this\n"
    assert not (tmp_path / "state").exists()
