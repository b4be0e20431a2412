"""Show what each stage of a run took: `python -m stages.tools.stage_times FILE`. `make run` ends with it."""

import sys
from pathlib import Path

from stages import cli
from stages.common import stage_times

# Commands that start the stages: their time is that of the others.
_STARTERS = {"run_images"}


def show_stage_times(file: Path) -> None:
    """Print a table of the stages that ran, and how much of their time was start-up.

    Args:
        file: What CONVOY_STAGE_TIMES named during the run. Without it, nothing ran and nothing is printed.
    """
    rows = [row for row in stage_times.read(file) if row["stage"] not in _STARTERS]
    if not rows:
        return
    width = max(len(str(row["stage"])) for row in rows)
    sums = {key: sum(float(row[key]) for row in rows) for key in ("seconds", "start_up")}
    lines = [
        f"{row['stage']:{width}}  {row['seconds']:7.1f}  {row['start_up']:8.1f}"
        for row in (*rows, {"stage": "sum", **sums})
    ]
    sys.stdout.write("\n".join([f"{'stage':{width}}  seconds  start-up", *lines]) + "\n")


if __name__ == "__main__":
    cli.main(show_stage_times)
