"""The cores and the memory that this process may use: a container's limits, not the host's size.

`docker --cpus 2 --memory 8g` and Kubernetes' limits are cgroups. They change neither the CPU affinity nor the
answers of sysconf, so a container with 2 of 64 cores would start 64 threads, and one with 8 of 256 GB would
be killed in the middle of an allocation. Both versions of cgroups are read from their files:
`joblib.cpu_count()` reads the same for cores, but its import takes 0.8 s, and psutil knows no limits.
"""

import math
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path

_ROOT, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# What TensorFlow, OpenMP (oneDNN, scikit-learn) and OpenBLAS read when they start their threads.
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def cores() -> int:
    """Return the number of cores that this process may use, at least 1; a share of a core counts as one."""
    quotas = [quota for folder in _folders("cpu") if (quota := _read_quota(folder)) is not None]
    return max(1, min([_affinity(), *(math.ceil(quota) for quota in quotas)]))


def available_memory() -> int:
    """Return the most memory, in bytes, that this process may use: the machine's or its container's."""
    limits = [
        limit
        for folder in _folders("memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (limit := _read_number(folder / name)) is not None
    ]
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *limits])


def limit_threads(environment: MutableMapping[str, str]) -> None:
    """Tell libraries with threads of their own about a container's limit; values that are set already win."""
    if (limit := cores()) < _affinity():
        for name in _THREADS:
            environment.setdefault(name, str(limit))


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _folders(controller: str) -> Iterator[Path]:
    """The folders of this process's cgroup and of those above it, each of which may have a limit.

    Inside a container the path may be the host's, which does not exist there; the root then is the container.
    """
    try:
        lines = _MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" or controller in controllers.split(","):
            root = _ROOT if number == "0" else _ROOT / controller
            inside = root / path.lstrip("/")
            yield from (folder for folder in (inside, *inside.parents) if folder.is_relative_to(root))


def _read_quota(folder: Path) -> float | None:
    """Cores per cgroup v2's or v1's file, or None where there is no limit."""
    text = _read(folder / "cpu.max")
    if not text:
        text = f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}"
    quota, _, period = text.partition(" ")
    # No limit is `max` in v2 and -1 in v1.
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(quota) else None


def _read_number(path: Path) -> int | None:
    text = _read(path)
    return int(text) if text.isdigit() else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
