"""`make plan`: what `make run` would run and why, for the working tree with its uncommitted changes."""

import os
import sys
from dataclasses import replace
from pathlib import Path

from pipelines.worker import clone, compose, job, locks, plan
from pipelines.worker.lines import without_login


def main() -> int:
    """Plan in a clone with the working tree's files; arguments are overrides. Returns the exit status."""
    workspace = Path.cwd()
    state = job.state_of(workspace)
    preview = job.read(
        {
            "CONVOY_ACTION": "plan",
            "CONVOY_REPOSITORY": str(workspace),
            "CONVOY_CACHE": str(workspace / ".dvc" / "cache"),
            "CONVOY_STATE": str(state),
            "CONVOY_WORK": str(state / "work"),
            # The clone of a second plan at the same time has another name.
            "CONVOY_RUN": f"preview-{os.getpid()}",
        }
    )
    if (workspace / clone.DATA).is_dir():
        preview = replace(preview, data=workspace / clone.DATA)
    try:
        with locks.shared(preview.state), clone.cloned(preview) as root:
            clone.overlay(root, workspace)
            if sys.argv[1:]:
                compose.compose(root, sys.argv[1:])
            compose.check(root)
            print(plan.table(plan.planned(root, preview)))
    except (job.RefusedError, job.FailedError) as error:
        print(f"error: {without_login(str(error))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
