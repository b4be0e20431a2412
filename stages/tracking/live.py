"""A thread that opens the run and sends params and epochs while a stage works.

The stage never waits for it: epochs that a server has not taken are sent with the next, and at its end the
stage uploads the whole record anyway.
"""

import threading

from stages.common import log
from stages.common.errors import describe
from stages.tracking import parts, upload
from stages.tracking.record import Record
from stages.tracking.server import TrackingError, Unreachable, address, connected

# Seconds that a stage waits at its start for a server over HTTP, so that one that refuses is an error at
# once, and at its end for a request on its way.
PATIENCE = 10.0
# Seconds until a server that did not answer is asked again: at first, and at most.
_FIRST, _LONGEST = 5.0, 60.0


class Live(threading.Thread):
    """Sends what is new in a record; an outage is one warning, and its end one event."""

    def __init__(self, record: Record) -> None:
        super().__init__(name="tracking", daemon=True)
        self._record = record
        self._news, self._opened, self._closing = threading.Event(), threading.Event(), threading.Event()
        self._refused: TrackingError | None = None
        self._uploaded_steps: set[tuple[str, int]] = set()
        self._begun, self._params, self._epochs = False, 0, 0
        self._pause = 0.0

    def open(self) -> None:
        """Start, and wait for the run as long as is cheap. Raises TrackingError where a server refuses it."""
        # Imported here: two threads that import MLflow at once wait for each other.
        with connected():
            self.start()
        self._opened.wait(PATIENCE if address().startswith("http") else None)
        if self._refused:
            raise self._refused

    def send(self) -> None:
        """Say that the record has news."""
        self._news.set()

    def close(self) -> bool:
        """Stop; returns False where a request is still on its way, to a server that does not answer it."""
        self._closing.set()
        self._news.set()
        self.join(PATIENCE)
        return not self.is_alive()

    def warn(self, error: Exception) -> None:
        """Say once that the server is unreachable."""
        if not self._pause:
            log.warning(
                "found_server_unreachable",
                reason=describe(error),
                next="a later stage, or make sync-tracking, uploads the run from disk",
            )
        self._pause = min(2 * self._pause or _FIRST, _LONGEST)

    def run(self) -> None:
        """Open the run, then send whatever comes until `close`."""
        while not self._closing.is_set():
            self._news.clear()
            try:
                self._send()
            except Exception as error:
                if isinstance(error, TrackingError) and not isinstance(error, Unreachable):
                    self._refused = error
                    self._opened.set()
                    return
                # Also what is no error of MLflow: a thread that ends would leave the stage waiting for it.
                if not self._closing.is_set():
                    self.warn(error)
                self._opened.set()
                self._closing.wait(self._pause)
                continue
            if self._pause:
                log.event("reached_tracking_server_again")
                self._pause = 0.0
            self._opened.set()
            self._news.wait()

    def _send(self) -> None:
        values = self._record.values
        with connected() as client:
            if not self._begun:
                run_id = upload.begin(client, self._record)
                self._begun = True
                self._uploaded_steps = parts.known_steps(client, run_id) if values["resumed"] else set()
            params, epochs = list(values["params"].items()), list(values["epochs"].items())
            parts.log_params(client, values["run_id"], dict(params[self._params :]))
            parts.log_epochs(client, values["run_id"], dict(epochs[self._epochs :]), self._uploaded_steps)
            self._params, self._epochs = len(params), len(epochs)
