"""The machine and the environment that a result was made on."""

import os
import platform
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil

from stages.common import keras_import
from stages.common.limits import cores


def describe() -> dict[str, Any]:
    """Return processor, cores, memory in MiB, graphics cards, system and Python."""
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": processor(),
        "cores": cores(),
        "memory_mib": psutil.virtual_memory().total // 2**20,
        "graphics": graphics(),
        "keras_backend": os.environ.get("KERAS_BACKEND", ""),
    }


def graphics() -> list[str]:
    """Return the names of the graphics cards that NVIDIA's driver lists; none without driver or card."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        # Where it fails, it says so on stdout.
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return []


def processor() -> str:
    """Return the processor's name, as Linux or else Python has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def packages() -> str:
    """Return `name==version` of every installed package, a line each."""
    names = {f"{package.metadata['Name']}=={package.version}" for package in distributions()}
    return "\n".join(sorted(names, key=str.lower)) + "\n"


def peak_memory() -> float:
    """Return the most memory in MiB that this process has held so far.

    Linux' ru_maxrss starts at what the parent held when it forked: a stage that DVC or a test starts would
    report their memory. VmHWM is of the program alone.
    """
    import resource

    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes, but bytes on macOS.
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def device() -> str:
    """Return what Keras computes on, `gpu:0` and the like, or `cpu`."""
    return ", ".join(keras_import.gpus()) or "cpu"
