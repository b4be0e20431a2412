"""All that a feature follows from besides the pixels."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stages.common import fingerprint
from stages.common.files import digest
from stages.models import extractors
from stages.models.protocols import ExtractorParams

# Where they are installed.
_PACKAGES = ("numpy", "opencv-python-headless", "keras", "tensorflow-cpu", "tensorflow", "jax", "torch")


def follows_from(params: ExtractorParams, shape: tuple[int, ...]) -> dict[str, Any]:
    """Code, params and weights, versions, and the machine: processors round floats each in their own way."""
    values = params.model_dump(mode="json")
    files = [Path(value).expanduser() for value in values.values() if isinstance(value, str) and value]
    return {
        "code": fingerprint.code("stages.extract", {extractors.__name__: (params.kind,)}),
        "params": values,
        "shape": shape,
        "files": {str(path): digest(path) for path in files if path.is_file()},
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
