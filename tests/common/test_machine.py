"""What is said of the machine and of this process."""

import subprocess
import sys
from pathlib import Path

import pytest

from stages.common import machine
from tests.paths import ROOT


def test_the_peak_of_memory_is_that_of_the_program_and_not_of_its_parent() -> None:
    held = bytearray(b"x") * (400 * 2**20)
    script = "from stages.common import machine; print(machine.peak_memory())"
    peak = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True)
    assert 1 < float(peak) < 200, len(held)


@pytest.mark.parametrize(
    ("printed", "status", "cards"),
    [
        ("NVIDIA H200\nNVIDIA H200\n", 0, ["NVIDIA H200", "NVIDIA H200"]),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", 9, []),
        (None, 0, []),
    ],
    ids=["two", "broken driver", "no driver"],
)
def test_graphics_cards_are_those_of_the_driver(
    printed: str | None, status: int, cards: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if printed is not None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n/bin/cat <<'END'\n{printed}END\nexit {status}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.graphics() == cards
    assert machine.describe()["graphics"] == cards
