"""What decides how floats are rounded: packages' versions, Keras' backend, oneDNN, the kind of processor."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stages.common import machine
from stages.common.keras_import import chosen_backend

# Where they are installed.
_PACKAGES = ("numpy", "opencv-python-headless", "keras", "tensorflow-cpu", "tensorflow", "jax", "torch")
_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


def describe() -> dict[str, Any]:
    """Versions, backend and machine: two machines with the same ones compute the same forward pass."""
    return {
        "packages": {name: installed for name in _PACKAGES if (installed := _version(name))},
        "backend": chosen_backend(),
        "machine": [platform.machine(), machine.processor(), Path("/dev/nvidia0").exists()],
        **variables(),
    }


def variables() -> dict[str, str]:
    """Variables that change numbers, by name, with their values; one that has its default is left out.

    So results that were stored with the defaults keep their keys.
    """
    # `stages/common/__init__.py` sets 1, and TensorFlow reads `true` likewise.
    value = os.environ.get(_ONEDNN, "1").lower()
    return {} if value in ("1", "true") else {_ONEDNN: value}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
