"""`python -m pipelines.worker`: do what the environment asks, and say how it ended."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from pipelines.worker import job
from pipelines.worker.plan import plan
from pipelines.worker.record import record
from pipelines.worker.shell import Stopped, stoppable
from pipelines.worker.stage import stage

ACTIONS = {"plan": plan, "stage": stage, "record": record}
DONE, FAILED, REFUSED, NOTHING_TO_DO, STOPPED = 0, 1, 2, 99, 143


def main() -> int:
    """Do the job. Returns the exit status."""
    started = time.monotonic()
    try:
        asked = job.read()
    except job.RefusedError as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED
    status, result = _done(asked)
    result["seconds"] = round(time.monotonic() - started, 1)
    _write(asked.result, result)
    print(f"{result['outcome']}: {result['reason']}".rstrip(": "), flush=True)
    return status


def _done(asked: job.Job) -> tuple[int, dict[str, Any]]:
    try:
        with stoppable():
            result = ACTIONS[asked.action](asked)
    except job.RefusedError as error:
        return REFUSED, {"outcome": "refused", "reason": str(error)}
    except (job.FailedError, OSError) as error:
        return FAILED, {"outcome": "failed", "reason": str(error)}
    except Stopped:
        return STOPPED, {"outcome": "stopped", "reason": "SIGTERM"}
    return (NOTHING_TO_DO if result["outcome"] == "restored" else DONE), result


def _write(path: Path, result: dict[str, Any]) -> None:
    """Whole or not at all: the reader may look at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(json.dumps(result, ensure_ascii=False) + "\n", encoding="utf-8")
    aside.replace(path)


if __name__ == "__main__":
    sys.exit(main())
