"""Where a run is made: code, machine, packages, and what DVC calls it."""

import getpass
import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil

from stages.common import git
from stages.common.files import digest
from stages.common.limits import cores
from stages.tracking import executions


def tags() -> dict[str, str]:
    """Of the run: commit, DVC's stage and lock file, machine, process, and what MLflow's page shows."""
    found = {
        **_git_tags(),
        executions.PROCESS: executions.described(os.getpid()),
        "host": platform.node(),
        "mlflow.source.name": Path(sys.argv[0]).name,
        "mlflow.source.type": "LOCAL",
    }
    # In some containers the user is a number without a name.
    with suppress(KeyError, OSError):
        found["mlflow.user"] = getpass.getuser()
    if "git.commit" in found:
        found["mlflow.source.git.commit"] = found["git.commit"]
    if stage := os.environ.get("DVC_STAGE"):
        found["dvc.stage"] = stage
    lock = Path("dvc.lock")
    if lock.exists():
        # This stage's own entry comes when it is done; those before it say what it reads.
        found["dvc.lock"] = digest(lock)
    return found


def _git_tags() -> dict[str, str]:
    """The commit and whether files differ from it; nothing outside a git repository."""
    commit = git.commit()
    return {"git.commit": commit, "git.dirty": "true" if git.changes() else "false"} if commit else {}


def machine() -> dict[str, Any]:
    """Processor, cores, memory in MiB, graphics cards, system, Python."""
    cards = shutil.which("nvidia-smi")
    listed = (
        subprocess.run([cards, "-L"], capture_output=True, text=True, check=False).stdout if cards else ""
    )
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": cores(),
        "memory_mib": psutil.virtual_memory().total // 2**20,
        "graphics": [line.split(" (UUID")[0] for line in listed.splitlines()],
        "keras_backend": os.environ.get("KERAS_BACKEND", ""),
    }


def packages() -> str:
    """`name==version` of every package that is installed, a line each."""
    found = {f"{one.metadata['Name']}=={one.version}" for one in distributions()}
    return "\n".join(sorted(found, key=str.lower)) + "\n"


def recipe(name: str) -> list[Path]:
    """The files of the working directory that say what the run was told to do."""
    return [path for path in (Path("params.yaml"), Path(f"conf/recipe/{name}.yaml")) if path.exists()]


def peak_memory() -> float:
    """The most memory in MiB that this process has held so far."""
    import resource

    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes, but bytes on macOS.
    return held / (2**20 if sys.platform == "darwin" else 2**10)


def device() -> str:
    """What Keras computes on: `gpu:0` and the like, or `cpu`, also for what does without Keras.

    Looked up among the modules that are loaded: importing Keras would take ten seconds.
    """
    keras = sys.modules.get("keras")
    return ", ".join(keras.distribution.list_devices("gpu")) or "cpu" if keras else "cpu"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
