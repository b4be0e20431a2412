"""One work by one runner, as a task of Airflow's does it; run by the Python that has what the runner needs.

Reads `{"runner": …, "config": {…}, "work": {…}}` from standard input; its last line is the result as JSON.
SIGTERM cancels, as Airflow does. `{"cancel_at": TEXT}` cancels in the midst of writing a line with this text,
while whoever writes it holds the output's lock.
"""

import io
import json
import logging
import signal
import sys
from typing import Any

from pipelines import runners
from pipelines.config import Config
from pipelines.graph import Settings


class Interrupted(io.TextIOWrapper):
    """Standard output; SIGTERM comes while a line with `word` is written."""

    word = ""

    def write(self, text: str) -> int:
        if self.word and self.word in text:
            signal.raise_signal(signal.SIGTERM)
        return super().write(text)


asked: dict[str, Any] = json.load(sys.stdin)
# Before anything logs: a logger keeps the output it first saw.
sys.stdout = Interrupted(sys.stdout.buffer, line_buffering=True)
sys.stdout.word = asked.get("cancel_at", "")
# What a runner logs is what the task's page shows.
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
runner = runners.create(asked["runner"], Config(**asked["config"]))
signal.signal(signal.SIGTERM, lambda *_: runner.cancel())
settings = Settings(**asked.get("settings", {}))
work = runners.Work(asked["name"], asked["variables"], settings)
if asked.get("only_shown"):
    # Only the Kubernetes runner has an operator whose pod can be looked at.
    made: Any = runner
    said: Any = made.operator(work).build_pod_request_obj().to_dict()
else:
    said = runner.run(work, {})
sys.stdout.write(json.dumps(said, default=str) + "\n")
