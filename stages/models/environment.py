"""What decides how floats are rounded: versions of packages, Keras' backend, the kind of processor."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# Where they are installed.
_PACKAGES = ("numpy", "opencv-python-headless", "keras", "tensorflow-cpu", "tensorflow", "jax", "torch")


def describe() -> dict[str, Any]:
    """Versions, backend and machine: two machines with the same ones compute the same forward pass."""
    return {
        "packages": {name: installed for name in _PACKAGES if (installed := _version(name))},
        "backend": os.environ.get("KERAS_BACKEND", "tensorflow"),
        "machine": [platform.machine(), _processor(), Path("/dev/nvidia0").exists()],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), "")
