"""What the Makefile itself says; what its targets do is tested where that is."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("target", ["find-learning-rate", "sweep", "predict", "replay"])
def test_what_a_target_has_to_be_told_is_said_before_anything_runs(target: str) -> None:
    # Not what an outer make was told: with a RUN, replay would bring it back.
    untold = ["MEMBER=", "FILES=", "RUN="]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    installed = [word for name in ("stages", "sweep") for word in ("--old-file", f".venv/{name}.installed")]
    words = ["make", *installed, target, *untold]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: name ")
    assert f": make {target} " in done.stderr.splitlines()[0]


def test_data_that_no_run_has_seen_cannot_be_accepted(tmp_path: Path) -> None:
    words = ["make", "--file", ROOT / "Makefile", "accept-data"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: data/profile.json is missing; make run writes it\n")
