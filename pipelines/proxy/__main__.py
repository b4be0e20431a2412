"""`python -m pipelines.proxy`: serve on port 2375 as the environment says."""

import os
import sys
import threading
from collections.abc import Mapping
from typing import Any

from pipelines.proxy.engine import Engine
from pipelines.proxy.service import Service
from pipelines.proxy.spec import Policy, RefusedError, folders_of_push


def main() -> int:
    """Serve until the process is ended. Returns the exit status for settings that are missing."""
    names = ("HOME", "REPOSITORY", "DATA", "UID", "GID", "DOCKER_NETWORK", "STACK", "IMAGES")
    values = {name: os.environ.get(f"CONVOY_{name}", "") for name in names}
    if missing := [f"CONVOY_{name}" for name, value in values.items() if not value]:
        print(f"error: not set: {', '.join(missing)}", file=sys.stderr)
        return 2
    engine = Engine(os.environ.get("DOCKER_SOCKET", "/var/run/docker.sock"), values["STACK"])
    host = engine.call("GET", "/info")
    git = f"{values['REPOSITORY']}/.git"
    try:
        policy = _policy(values, git, host)
    except RefusedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    service = Service(("0.0.0.0", 2375), engine, policy, values["STACK"])  # noqa: S104
    seconds = float(os.environ.get("CONVOY_UNATTENDED", "300"))
    threading.Thread(target=service.attendance.watch, args=(seconds,), daemon=True).start()
    service.serve_forever()
    return 0


def _policy(values: Mapping[str, str], git: str, host: Mapping[str, Any]) -> Policy:
    writable = [values["HOME"], *folders_of_push(git)]
    return Policy(
        images=frozenset(filter(None, values["IMAGES"].split(","))),
        folders={git: False, values["DATA"]: False} | dict.fromkeys(writable, True),
        user=f"{values['UID']}:{values['GID']}",
        network=values["DOCKER_NETWORK"],
        memory=host["MemTotal"],
        nano_cpus=host["NCPU"] * 10**9,
    )


if __name__ == "__main__":
    sys.exit(main())
