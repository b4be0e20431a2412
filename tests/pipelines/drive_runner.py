"""Run one work by one runner, as an Airflow task does; by the Python that has what the runner imports.

Reads `{"runner": …, "config": {…}, "work": {…}}` from standard input; its last line is the result as JSON.
SIGTERM cancels, as Airflow does; SIGALRM is the task's timeout. `{"cancel_at": TEXT}` cancels in the midst of
writing a line with this text, while the writer holds the output's lock. `{"only_shown": true}` prints the
Kubernetes runner's pod instead. `{"patience": SECONDS}` is how long a server may be unreachable;
`{"constants": {NAME: VALUE}}` are other times, of the runner's module.
"""

import io
import json
import logging
import signal
import sys
from importlib import import_module
from typing import Any

from pipelines import runners
from pipelines.config import Config
from pipelines.graph import Settings
from pipelines.runners import _patience


class Interrupted(io.TextIOWrapper):
    """Standard output; SIGTERM comes while a line with `word` is written."""

    word = ""

    def write(self, text: str) -> int:
        if self.word and self.word in text:
            signal.raise_signal(signal.SIGTERM)
        return super().write(text)


class Expired(BaseException):
    """The task's timeout: Airflow's is no Exception either."""


def expire(*_: object) -> None:
    raise Expired


request: dict[str, Any] = json.load(sys.stdin)
# Before anything logs: a logger keeps the output it first saw.
sys.stdout = Interrupted(sys.stdout.buffer, line_buffering=True)
sys.stdout.word = request.get("cancel_at", "")
# What a runner logs is what the task's page shows.
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
runner = runners.create(request["runner"], Config(**request["config"]))
signal.signal(signal.SIGTERM, lambda *_: runner.cancel())
signal.signal(signal.SIGALRM, expire)
_patience.SECONDS = request.get("patience", _patience.SECONDS)
for name, value in request.get("constants", {}).items():
    setattr(import_module(f"pipelines.runners.{request['runner']}"), name, value)
settings = Settings(**request.get("settings", {}))
work = runners.Work(request["name"], request["variables"], settings)
if request.get("only_shown"):
    from pipelines.runners import _pod

    shown: Any = _pod.manifest(Config(**request["config"]), work)
else:
    try:
        shown = runner.run(work, {})
    except Expired:
        runner.cancel()
        shown = {"outcome": "expired"}
sys.stdout.write(json.dumps(shown) + "\n")
