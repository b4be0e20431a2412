"""A thread that writes a record to the server, so that neither a slow nor a dead one holds up a training."""

import threading
import time

from stages.common import log
from stages.tracking.record import Record
from stages.tracking.server import TrackingError, Unreachable
from stages.tracking.writer import Writer

# Seconds until a server that did not answer is asked again: at first, and at most.
_FIRST, _LONGEST = 5.0, 60.0


class Sender(threading.Thread):
    """Writes whenever it is told that there is more; an outage is one warning, and its end one line."""

    def __init__(self, record: Record, writer: Writer) -> None:
        super().__init__(name="tracking", daemon=True)
        self.complete = False
        self._record, self._writer = record, writer
        self._more = threading.Event()
        self._closing = False
        self._pause, self._again = 0.0, 0.0
        self._error: BaseException | None = None

    def open(self) -> None:
        """Make the run and start. Raises TrackingError for a server that cannot be one."""
        self._write(live=True)
        self.start()

    def more(self) -> None:
        """There are new lines in the record."""
        self._more.set()

    def stop(self) -> None:
        """Write the rest, then stop; `complete` says whether all is there."""
        self._closing = True
        self._more.set()
        self.join()

    def close(self) -> None:
        """Stop, and raise what no server is to blame for: that a member cannot be put together."""
        self.stop()
        if self._error is not None:
            raise self._error

    def run(self) -> None:
        """Until `close`."""
        try:
            while not self._closing:
                left = self._again - time.monotonic() if self._pause else None
                if self._more.wait(left) or self._pause:
                    self._more.clear()
                    if self._closing or time.monotonic() >= self._again:
                        self._write()
            self._write()
        except BaseException as error:  # for whoever closes it
            self._error = error

    def _write(self, *, live: bool = False) -> None:
        try:
            self._writer.write(live=live)
        except TrackingError as error:
            if live and not isinstance(error, Unreachable):
                raise
            if not self._pause:
                log.warning(
                    "tracking is away; all is kept here and written later, or by make sync-tracking",
                    reason=str(error),
                )
            self._pause = min(2 * self._pause or _FIRST, _LONGEST)
            self._again = time.monotonic() + self._pause
            self.complete = False
            return
        if self._writer.run_id:
            self._record.know(self._writer.run_id)
        if self._pause:
            log.event("tracking is back")
        self._pause = self._again = 0.0
        self.complete = True
