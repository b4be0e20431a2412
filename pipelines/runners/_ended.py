"""How a worker ended that left no result, or why it could not start."""

from collections import deque
from collections.abc import Iterable
from typing import Any

# Exit statuses of the worker; see the docstring of pipelines/worker.
_OUTCOMES = {99: "restored", 2: "refused", 143: "stopped"}
_KILLED = 137
_LAST_LINES = 3


class Tail:
    """The last lines that a container said; `label` is what the log puts before each of them."""

    def __init__(self, label: str = "") -> None:
        self.label = label
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)

    def add(self, line: str) -> None:
        """Note a line."""
        if line.strip():
            self._lines.append(line.strip()[:300])

    def __iter__(self) -> Any:
        return iter(self._lines)


def result(
    status: int, lines: Iterable[str], *, out_of_memory: bool, limit: str, detail: str = ""
) -> dict[str, Any]:
    """The result that stands in for a missing one.

    Args:
        status: Exit status of the container.
        lines: The last lines of its output.
        out_of_memory: Whether the kernel ended it for its memory.
        limit: The memory limit, for the reason.
        detail: What the engine says about the end.

    Returns:
        Outcome and reason.
    """
    if out_of_memory:
        cause = f"out of memory (limit {limit}): raise memory: under meta: of the stage in dvc.yaml"
    elif status == _KILLED:
        cause = "killed (SIGKILL) from outside: by a person, or by the host for its memory"
    else:
        cause = "the worker ended without a result"
    text = " | ".join(lines)
    parts = [cause, f"exit status {status}", detail, f"last lines: {text}" if text else ""]
    return {"outcome": _OUTCOMES.get(status, "failed"), "reason": "; ".join(filter(None, parts))}


def not_started(runner: str, reason: str) -> dict[str, Any]:
    """The result of a runner that has nothing to run with: a person chooses another one, or provides it."""
    return {"outcome": "refused", "reason": f"the runner {runner} cannot start here: {reason}"}


def size(count: int) -> str:
    """Bytes as people write a limit: `8 GiB`, `300 MiB`."""
    return f"{count / 2**30:.4g} GiB" if count >= 2**30 else f"{count / 2**20:.4g} MiB"
