"""What is said of the machine and of this process."""

import subprocess
import sys

from tests.paths import ROOT


def test_the_peak_of_memory_is_that_of_the_program_and_not_of_its_parent() -> None:
    held = bytearray(b"x") * (400 * 2**20)
    script = "from stages.common import machine; print(machine.peak_memory())"
    peak = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True)
    assert 1 < float(peak) < 200, len(held)
