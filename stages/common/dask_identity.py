"""What a Dask worker has to have in common with a stage: the code and all else that decides a result.

Each call compares, as workers may join at any time.
"""

import json
import platform
import threading
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

from stages.common import fingerprint
from stages.common.files import digest

# The code of both ends, which no stage's fingerprint counts.
_WIRE = {
    name: digest(fingerprint.ROOT / "stages" / "common" / name)
    for name in ("dask_identity.py", "dask_workers.py", "executor.py")
}
# Token → identity in the last execution; path → digest of a file of code when this worker first looked at it.
_IDENTITIES: dict[str, dict[str, Any]] = {}
_LOADED: dict[str, str] = {}
# `ast.parse` in two threads at once fails in Python 3.11: "AST constructor recursion depth mismatch".
_LOOKING_UP = threading.Lock()


class Expected(NamedTuple):
    """What a worker has to agree with: one execution of a stage.

    Attributes:
        token: Of this execution. A worker looks at its code and files once per token.
        follows_from: Gives what decides a result; see `executor.opened`.
        args: Its arguments.
        digest: Of what it gave in the stage.
    """

    token: str
    follows_from: Callable[..., Mapping[str, object]]
    args: tuple[object, ...]
    digest: str


def own(expected: Expected) -> dict[str, Any]:
    """Return what decides a result on this worker, looked up once per token: `expected` cannot be hashed."""
    with _LOOKING_UP:
        values = _IDENTITIES.get(expected.token)
        if values is None:
            values = identity(expected.follows_from, expected.args)
            # Of a file that is edited while the worker runs, the code that was loaded counts.
            loaded = {path: _LOADED.setdefault(path, seen) for path, seen in values.get("code", {}).items()}
            values |= {"code": loaded} if loaded else {}
            _IDENTITIES.clear()
            _IDENTITIES[expected.token] = values
    return values


def identity(follows_from: Callable[..., Mapping[str, object]], args: tuple[object, ...]) -> dict[str, Any]:
    """Collect what decides a result.

    Args:
        follows_from: Gives what decides it besides Python, Dask and the code of both ends.
        args: Its arguments.

    Returns:
        Values of JSON's types, equal on a stage and on a worker that is a copy of it.
    """
    values = {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "distributed": version("distributed"),
        "wire": _WIRE,
        **follows_from(*args),
    }
    plain: dict[str, Any] = json.loads(json.dumps(values, sort_keys=True, default=str))
    return plain


def difference(stage: Any, worker: Any, key: str = "") -> str:
    """Name the first difference of two identities.

    Args:
        stage: The stage's identity, or a part of it.
        worker: The same part of the worker's.
        key: The dotted key of the part.

    Returns:
        A line as `versions.numpy is 2.4.0 in the stage and 2.3.1 in the worker`.
    """
    if isinstance(stage, Mapping) and isinstance(worker, Mapping):
        for name in sorted({*stage, *worker}):
            if stage.get(name) != worker.get(name):
                return difference(stage.get(name), worker.get(name), f"{key}.{name}".lstrip("."))
    return f"{key} is {_short(stage)} in the stage and {_short(worker)} in the worker"


def _short(value: Any) -> str:
    text = "missing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:16]}…"
