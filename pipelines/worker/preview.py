"""`make plan`: what `make run` would run and why, for the working tree with its uncommitted changes."""

import argparse
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from pipelines.worker import clone, compose, job, locks, plan
from pipelines.worker.lines import without_login


def main() -> int:
    """Say what `make run` would run and why. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make plan", description=main.__doc__)
    parser.add_argument("--recipe", help="of another recipe than that of params.yaml")
    parser.add_argument("--set", default="", help="KEY=VALUE words, separated by blanks")
    options = parser.parse_args()
    try:
        print(plan.table(_planned([f"recipe={options.recipe}"] if options.recipe else [], options.set)))
    except (job.RefusedError, job.FailedError, OSError) as error:
        print(f"error: {without_login(str(error))}", file=sys.stderr)
        return 1
    return 0


def _planned(changes: list[str], words: str) -> dict[str, plan.Planned]:
    """Plan in a clone that has the working tree's files."""
    try:
        changes = changes + shlex.split(words)
    except ValueError as error:
        raise job.RefusedError(f"SET: {error}: {words}") from None
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
    with locks.shared(preview.state), clone.cloned(preview) as root:
        clone.overlay(root, workspace)
        if changes:
            compose.compose(root, changes)
        compose.check(root)
        return plan.planned(root, preview)


if __name__ == "__main__":
    sys.exit(main())
