"""Images of earlier builds: without a name since `make images` built others, and used by no container."""

import json
import subprocess
from datetime import datetime
from typing import Any

_LABEL = "org.opencontainers.image.title"


def find(before: float) -> list[tuple[str, int]] | None:
    """List the ids of old images and their bytes; layers that images share count in each.

    Args:
        before: Seconds since the epoch: when they were built at the latest.

    Returns:
        The images; None where no Docker engine is in reach.
    """
    listed = _docker(
        "image", "ls", "--quiet", "--no-trunc", "--filter", "dangling=true", "--filter", f"label={_LABEL}"
    )
    if listed is None:
        return None
    ids = sorted(set(listed.split()))
    inspected = _docker("image", "inspect", *ids) if ids else "[]"
    images: list[dict[str, Any]] = json.loads(inspected or "[]")
    return [
        (image["Id"], image["Size"])
        for image in images
        if image["Config"]["Labels"][_LABEL].startswith("convoy/")
        and datetime.fromisoformat(image["Created"][:19] + "+00:00").timestamp() < before
    ]


def remove(ids: list[str]) -> int:
    """Remove images; returns how many are gone. The engine keeps one that a container uses."""
    return sum(_docker("image", "rm", image) is not None for image in ids)


def _docker(*words: str) -> str | None:
    """The output of `docker WORDS`; None where it fails or there is no docker."""
    try:
        done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout
