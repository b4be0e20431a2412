"""Programs that run together."""

import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT

CLIENT = """
import pathlib, signal, subprocess, sys
def note(*_):
    running = subprocess.run(["kill", "-0", sys.argv[1]], capture_output=True).returncode == 0
    pathlib.Path("end.txt").write_text("after" if running else "before")
    sys.exit()
signal.signal(signal.SIGTERM, note)
pathlib.Path("ready").touch()
signal.pause()
"""
START = """
import pathlib, psutil, sys
from pipelines.parts import Parts
parts = Parts({"PATH": "/usr/bin:/bin"}, pathlib.Path())
parts.start("server", ["sleep", "600"], ends_last=True)
parts.start("client", [sys.executable, "-c", sys.argv[1], str(parts._children["server"].pid)])
parts.wait_until(pathlib.Path("ready").exists, "the client")
parts.stop()
assert not psutil.Process().children()
"""


def test_a_server_ends_after_its_clients(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", START, CLIENT],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "end.txt").read_text() == "after", "the client has lost its server at its end"
