"""What the modules of stages/ and pipelines/ import, and what starting a stage loads."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.paths import ROOT

MODULES = sorted((ROOT / "stages").rglob("*.py"))
# Where Keras may be imported; everything else must work, and start fast, without it.
# Keras has no call of its own for several processes, nor for several GPUs under TensorFlow, nor for the fused
# batch normalization.
BACKENDS = {
    "stages/models/training/distribution.py": {"jax", "tensorflow"},
    "stages/models/training/normalization.py": {"tensorflow"},
    "stages/models/training/processes.py": {"jax"},
    "stages/models/training/rank_figures.py": {"jax"},
}
KERAS_ROOMS = (
    "stages/common/keras_import.py",
    "stages/models/learners/cnn.py",
    "stages/models/learners/fine_tuning.py",
    "stages/models/networks/",
    "stages/models/training/",
    "stages/data/loader.py",
    "stages/models/backbones.py",
    "stages/models/extractors/keras_applications.py",
    "stages/tools/networks.py",
)


def imports(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return imported


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_stages_import_only_what_they_may(path: Path) -> None:
    imported, place = packages(path), path.relative_to(ROOT).as_posix()
    assert not imported & {"pipelines", "airflow", "torch"}
    assert imported & {"tensorflow", "jax"} <= BACKENDS.get(place, set())
    if not place.startswith(KERAS_ROOMS):
        assert "keras" not in imported


def test_pipelines_know_nothing_of_stages() -> None:
    for path in (ROOT / "pipelines").rglob("*.py"):
        assert "stages" not in packages(path), path


def test_coverage_leaves_out_what_needs_airflow() -> None:
    """Airflow has an environment of its own; coverage would count these modules as untested."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["coverage"]["run"]
    for path in (ROOT / "pipelines").rglob("*.py"):
        if "airflow" in packages(path):
            relative = path.relative_to(ROOT)
            assert any(relative.match(pattern) for pattern in patterns["omit"]), relative


IMPORT_ONE_BY_ONE = """
import sys
from importlib import import_module
from pathlib import Path
import numpy as np
for name in sys.argv[1:]:
    import_module(f"stages.{name}")
    if name == "extract":
        from stages.models import extractors
        from stages import params
        hog = params.load(Path("params.yaml")).extractors["hog"]
        extractors.prepare(hog, (16, 16, 1))(np.zeros((2, 16, 16, 1), np.uint8))
    heavy = {"keras", "tensorflow", "mlflow", "sklearn", "pandas", "matplotlib"}
    print(name, *sorted(heavy & set(sys.modules)))
"""


def test_stages_that_need_no_keras_start_without_it() -> None:
    """In one process, one after the other: what the first of them would import, it would be blamed for."""
    names = [
        "ingest",
        "audit",
        "resize",
        "mean",
        "pack",
        "ensemble",
        "extract",
        "evaluate",
        "promote",
        "summarize",
    ]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ONE_BY_ONE, *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    loaded = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    drawing = {"evaluate": ["matplotlib"], "promote": ["matplotlib"], "summarize": ["matplotlib"]}
    assert loaded == {name: [] for name in names} | drawing
