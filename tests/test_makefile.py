"""The Makefile's own checks; its targets are tested with the programs that they run."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Without what an outer make hands on, `make test` for one.
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}


@pytest.mark.parametrize("target", ["find-learning-rate", "sweep", "predict", "replay"])
def test_a_missing_variable_is_named_before_anything_runs(target: str) -> None:
    installed = [word for name in ("stages", "sweep") for word in ("--old-file", f".venv/{name}.installed")]
    words = ["make", *installed, target]
    done = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: name ")
    assert f": make {target} " in done.stderr.splitlines()[0]


def test_a_variable_of_the_shell_is_no_word_of_the_command() -> None:
    """With the shell's RUN, `make replay` would replace the workspace."""
    probe = "probe: ; @echo '$(DATA)' \"$$DATA\" '$(RUN)'"
    words = ["make", f"--eval={probe}", "probe"]
    environment = ENVIRONMENT | {"DATA": "/shell", "RUN": "shell"}
    outputs = [
        subprocess.run([*words, *more], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        for more in ([], ["DATA=/a b"])
    ]
    assert [done.stdout.strip() for done in outputs] == ["", "/a b /a b"]


def test_data_that_no_run_has_seen_cannot_be_accepted(tmp_path: Path) -> None:
    words = ["make", "--file", ROOT / "Makefile", "accept-data"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: data/profile.json is missing; make run writes it\n")


def test_the_packages_of_airflow_are_audited_even_where_they_were_not_installed(tmp_path: Path) -> None:
    words = ["make", "--dry-run", "--old-file", ".venv/dev.installed", f"AIRFLOW={tmp_path}/none", "audit"]
    done = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.index("Installing Airflow") < done.stdout.index("pip-audit")


@pytest.mark.parametrize(("backend", "installs"), [("tensorflow", False), ("jax", True)])
def test_a_run_installs_its_backend(backend: str, installs: bool, tmp_path: Path) -> None:
    words = ["make", "--dry-run", f"VENV={tmp_path}/none", "run"]
    environment = ENVIRONMENT | {"KERAS_BACKEND": backend}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert ("requirements/jax.txt" in done.stdout) is installs


def test_help_lists_every_target() -> None:
    done = subprocess.run(
        ["make", "help"], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    declared = (ROOT / "Makefile").read_text(encoding="utf-8").partition(".PHONY:")[2].partition("\n\n")[0]
    assert listed == set(declared.replace("\\", " ").split())
