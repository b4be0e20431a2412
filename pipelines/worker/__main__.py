"""`python -m pipelines.worker`: do what the environment asks, and leave a result."""

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from pipelines.worker import files, job, locks, memory
from pipelines.worker.clean_up import clean_up
from pipelines.worker.lines import result_lines, without_login
from pipelines.worker.plan import plan
from pipelines.worker.rank import rank
from pipelines.worker.record import record
from pipelines.worker.shell import Stopped, stoppable
from pipelines.worker.stage import stage

ACTIONS = {"plan": plan, "stage": stage, "rank": rank, "record": record, "clean_up": clean_up}
DONE, FAILED, REFUSED, NOTHING_TO_DO, STOPPED = 0, 1, 2, 99, 143


def main() -> int:
    """Do the job. Returns the exit status."""
    started = time.monotonic()
    status, result = _outcome()
    result["reason"] = without_login(result["reason"])
    result["seconds"] = round(time.monotonic() - started, 1)
    print(f"{result['outcome']}: {result['reason']}".rstrip(": "), flush=True)
    # Read here as well: a job that cannot be read leaves a result, too.
    if target := os.environ.get("CONVOY_RESULT"):
        _write(target, result)
    return status


def _outcome() -> tuple[int, dict[str, Any]]:
    """The exit status and the result, whatever happens."""
    kills = memory.kills()
    try:
        with stoppable():
            current = job.read()
            # A clean-up holds the lock alone.
            with locks.shared(current.state if current.action != "clean_up" else None):
                result = ACTIONS[current.action](current)
    except job.RefusedError as error:
        return REFUSED, {"outcome": "refused", "reason": str(error)}
    except (job.FailedError, OSError) as error:
        # A stage that the kernel ends for its memory leaves DVC a status alone.
        cause = f"{memory.exceeded()}; " if memory.kills() > kills else ""
        return FAILED, {"outcome": "failed", "reason": f"{cause}{error}"}
    except Stopped:
        return STOPPED, {"outcome": "stopped", "reason": "SIGTERM"}
    except Exception as error:
        # An error of this program: it may be over by the next try, and a person can find it.
        text = without_login(traceback.format_exc())
        print(text, end="", flush=True)
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"unexpected {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
        return FAILED, {"outcome": "failed", "reason": " ".join(reason.split()), "traceback": text}
    return (NOTHING_TO_DO if result["outcome"] == "restored" else DONE), result


def _write(target: str, result: dict[str, Any]) -> None:
    """Write the result, whole or not at all: its reader may look at any time. `-`: into the output."""
    text = json.dumps(result, ensure_ascii=False)
    if target == "-":
        print("\n".join(result_lines(text)), flush=True)
        return
    files.write(Path(target), f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
