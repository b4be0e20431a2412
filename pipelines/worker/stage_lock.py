"""A lock for runs that are about to compute the same stage: one computes it, the others wait and restore it.

The points of a sweep start at once. Without the lock, each of them would train every member that they have in
common.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from pipelines.worker import declared, locks
from pipelines.worker.job import Job
from pipelines.worker.shell import git

FOLDER = "stage_locks"


@contextmanager
def held(root: Path, job: Job) -> Iterator[None]:
    """Hold the lock of a stage of a commit and params; wait for it where another run has it.

    A forced stage does not wait, as it runs anyway, nor one of several ranks: the others would wait for rank
    0 too long.

    Args:
        root: The clone.
        job: The task.
    """
    ranks = int(os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", "1"))
    waits = job.state is not None and not job.forced and ranks == 1
    path = job.state / FOLDER / _same_work(root, job.stage) if job.state and waits else None
    with locks.waiting(path, "waiting: another run works on the same stage"):
        yield


def _same_work(root: Path, address: str) -> str:
    """A digest of the commit, the stage, and the params that it and the stages above it in dvc.yaml read."""
    values = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    params = [
        (key, declared.value_at(values, key)) for key in sorted(_params(declared.stages(root), address))
    ]
    text = json.dumps([git(root, "rev-parse", "HEAD"), address, params], default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _params(stages: dict[str, Any], address: str) -> set[str]:
    """The keys of the params. Of a `foreach` over the same section, only those of the stage's own member."""
    name, _, member = address.partition("@")
    section = stages.get(name, {}).get("foreach")
    keys: set[str] = set()
    for stage, body in stages.items():
        own = member if section and body.get("foreach") == section else ""
        for key in body.get("do", body).get("params", []):
            if isinstance(key, str):
                keys.add(key.replace("${key}", own) if own else key.partition(".${key}")[0])
        if stage == name:
            break
    return keys
