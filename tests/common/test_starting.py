"""SIGTERM while a stage imports its libraries."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.common import starting
from stages.common.errors import TERMINATED
from tests.paths import ROOT


@pytest.mark.parametrize("module", ["stages.train", "stages.tools.sync_tracking"])
def test_a_command_that_is_stopped_while_it_imports_says_so(tmp_path: Path, module: str) -> None:
    """With a library whose import ends by a signal alone."""
    (tmp_path / "tqdm.py").write_text(
        'import signal, sys\nprint("importing", flush=True)\nsignal.pause()\n', encoding="utf-8"
    )
    with subprocess.Popen(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=180)
    (line,) = errors.splitlines()
    command = module.rpartition(".")[2]
    assert f'level=error stage={command} event="stopped by SIGTERM; run it again"' in line
    assert process.returncode == TERMINATED


def test_a_program_of_another_kind_keeps_its_handler() -> None:
    assert starting.command_name() is None
    words = [
        sys.executable,
        "-c",
        "import signal, stages.common as c; print(signal.getsignal(15), c.__name__)",
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{signal.SIG_DFL} stages.common\n"
