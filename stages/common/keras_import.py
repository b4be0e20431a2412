"""Import Keras without the packages that it loads and Convoy does not use through it.

Keras loads scikit-learn for its wrappers, matplotlib for its galleries, pandas for data frames as input, and
SciPy: 1.7 of the 3.8 CPU seconds of `import keras`. All four are optional for Keras, so they count as not
installed while it is imported. Afterwards every module imports them as usual. JAX needs SciPy itself.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

from stages.common import collector
from stages.common.errors import UsageError

_OPTIONAL = ("matplotlib", "pandas", "scipy", "sklearn")
# The backends that Convoy uses, and how each is installed.
_BACKENDS = {
    "tensorflow": "`make run` installs it",
    "jax": "`KERAS_BACKEND=jax make run` installs it",
}
# TensorFlow prints both twice while it is imported, before its own logging is set up: no variable hides them.
_NOTICES = ("oneDNN custom operations are on", "All log messages before absl::InitializeLog")


def chosen_backend() -> str:
    """The name of Keras' backend, which KERAS_BACKEND chooses. This does not import Keras."""
    return os.environ.get("KERAS_BACKEND") or "tensorflow"


def import_keras() -> None:
    """Make sure that Keras is imported; `import keras` costs nothing afterwards.

    Not for threads: another thread's import of one of the four packages would fail meanwhile.

    Raises:
        UsageError: KERAS_BACKEND is not a backend that Convoy uses, or the backend is not installed.
    """
    if "keras" not in sys.modules:
        backend = chosen_backend()
        _check(backend)
        needed = "scipy" if backend == "jax" else ""
        blocked = (package for package in _OPTIONAL if package != needed)
        with collector.paused(), _not_installed(*blocked), _without_notices():
            import_module("keras")


def gpus() -> list[str]:
    """Name the GPUs that Keras computes on, as `gpu:0`; none in a process that has not imported Keras."""
    if (keras := sys.modules.get("keras")) is None:
        return []
    # Of all kinds: asked for "gpu", JAX raises an error where there is none.
    return [name for name in keras.distribution.list_devices() if name.startswith("gpu")]


def _check(backend: str) -> None:
    if backend not in _BACKENDS:
        raise UsageError(f"KERAS_BACKEND is {backend}; allowed: {', '.join(_BACKENDS)}")
    if find_spec(backend) is None:
        raise UsageError(f"KERAS_BACKEND is {backend}, which is not installed; {_BACKENDS[backend]}")


@contextmanager
def _not_installed(*packages: str) -> Iterator[None]:
    """Let imports of these packages fail in this block, unless they are loaded already."""
    blocked = {package: None for package in packages if package not in sys.modules}
    sys.modules.update(blocked)  # type: ignore[arg-type]  # None is how Python marks what cannot be imported
    try:
        yield
    finally:
        for package in blocked:
            del sys.modules[package]


@contextmanager
def _without_notices() -> Iterator[None]:
    """Drop TensorFlow's notices from what is written to stderr in this block; not in an image without grep.

    grep reads, not a thread: on a CPU without AVX, TensorFlow ends this process, and its reason must be seen.
    """
    if not (grep := shutil.which("grep")):
        yield
        return
    patterns = (f"--regexp={notice}" for notice in _NOTICES)
    command = [grep, "--line-buffered", "--invert-match", "--fixed-strings", *patterns]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=2) as reader:
        assert reader.stdin
        stderr = os.dup(2)
        os.dup2(reader.stdin.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
