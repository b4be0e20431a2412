"""Which containers a runner follows. A container without a follower is stopped, and then removed.

A task that is killed with its scheduler leaves its container: it would train on for days, in the way of the
next try. No restart policy of Docker starts a scheduler again that a person has killed. A task that is
cancelled is killed five seconds later, while its container still writes a checkpoint: nobody else removes it.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

from pipelines.proxy.engine import Engine, EngineError

# The worker gives its stage ten seconds to write a checkpoint.
_SECONDS_TO_STOP = 30


class Attendance:
    """Counts the open streams of each container's log, and notes when the last one closed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._streams: Counter[str] = Counter()
        self._last: dict[str, float] = {}

    @contextmanager
    def follow(self, container: str) -> Iterator[None]:
        """Inside, the container is followed."""
        with self._lock:
            self._streams[container] += 1
        try:
            yield
        finally:
            with self._lock:
                self._streams[container] -= 1
                self._last[container] = time.monotonic()

    def unattended(self, seconds: float) -> dict[str, bool]:
        """The containers that no runner has followed for so many seconds, and whether each still runs."""
        now = time.monotonic()
        containers = self._engine.containers()
        with self._lock:
            self._last = {
                container: now if self._streams[container] > 0 else self._last.get(container, now)
                for container in containers
            }
            return {name: containers[name] for name, last in self._last.items() if now - last >= seconds}

    def end_unattended(self, seconds: float) -> None:
        """Stop the containers that are unattended now, and remove those that have ended."""
        with _reported():
            for container, runs in self.unattended(seconds).items():
                with _reported():
                    if runs:
                        self._engine.stop(container, _SECONDS_TO_STOP)
                    else:
                        self._engine.remove(container)
                    done = "stopped" if runs else "removed"
                    why = f"no runner has followed it for {seconds:.0f} s"
                    print(f"{done} {container[:12]}: {why}", flush=True)

    def watch(self, seconds: float) -> None:
        """End unattended containers, for ever."""
        while True:
            time.sleep(min(seconds / 4, 30))
            self.end_unattended(seconds)


@contextmanager
def _reported() -> Iterator[None]:
    """Inside, an answer of the engine that is missing or broken is printed: the next one may be whole."""
    try:
        yield
    except (OSError, HTTPException, ValueError, EngineError) as error:
        print(f"the engine does not answer: {error}", flush=True)
