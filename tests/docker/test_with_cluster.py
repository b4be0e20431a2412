import os
import shutil
import subprocess
from pathlib import Path

from tests.docker.conftest import ROOT

WITH_CLUSTER = ROOT / "docker" / "with-cluster.sh"


def test_what_is_missing_is_printed_in_one_line(tmp_path: Path) -> None:
    for name in ("env", "bash", "sh", "id", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    done = subprocess.run(
        [WITH_CLUSTER, "true"],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 69
    assert done.stderr.count("\n") == 1
    assert "no cluster can be started: " in done.stderr
