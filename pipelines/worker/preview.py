"""`make plan`: what `make run` would run and why, for the working tree as it stands. It changes nothing."""

import sys
from dataclasses import replace
from pathlib import Path

from pipelines.worker import clone, compose, job, plan


def main() -> int:
    """Plan in a clone that is brought to the working tree's state; with overrides, of another recipe."""
    here = Path.cwd()
    asked = job.read(
        {
            "CONVOY_ACTION": "plan",
            "CONVOY_REPOSITORY": str(here),
            "CONVOY_RESULT": "/dev/null",
            "CONVOY_CACHE": str(here / ".dvc" / "cache"),
            "CONVOY_STATE": str(here / ".convoy"),
            "CONVOY_WORK": str(here / ".convoy" / "work"),
            "CONVOY_RUN": "preview",
        }
    )
    if (here / clone.DATA).is_dir():
        asked = replace(asked, data=here / clone.DATA)
    try:
        with clone.cloned(asked) as root:
            clone.overlay(root, here)
            if sys.argv[1:]:
                compose.compose(root, sys.argv[1:])
            else:
                compose.check(root)
            print(plan.table(plan.planned(root, asked)))
    except (job.RefusedError, job.FailedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
