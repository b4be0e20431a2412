"""Whether the kernel has ended a process of this container for its memory (cgroup v1 and v2)."""

from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def kills(root: Path = _ROOT) -> int:
    """How many processes of this container the kernel has ended for their memory; 0 where it does not say."""
    for name in ("memory.events", "memory/memory.oom_control"):
        for line in _text(root / name).splitlines():
            key, _, count = line.partition(" ")
            if key == "oom_kill":
                return int(count)
    return 0


def exceeded(root: Path = _ROOT) -> str:
    """The sentence that says so, with the limit where there is one."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _text(root / name).strip()
        # cgroup v1 writes "no limit" as a number close to 2^63.
        if text.isdecimal() and int(text) < 1 << 60:
            return f"out of memory (limit {_size(int(text))})"
    return "out of memory"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _size(count: int) -> str:
    return f"{count / 2**30:.4g} GiB" if count >= 2**30 else f"{count / 2**20:.4g} MiB"
