"""Calls of a server that may be unreachable for a while."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)
# An engine or a cluster's API server is back after an update within minutes; a task gives up later.
SECONDS = 600.0


def patiently(call: Callable[[], T], passes: Callable[[Exception], bool]) -> T:
    """Call until it succeeds, for at most SECONDS.

    Args:
        call: What to do.
        passes: Whether an error may be over by the next try.

    Returns:
        What the call returns.

    Raises:
        Exception: The call's own, when it does not pass or the time is over.
    """
    deadline, pause = time.monotonic() + SECONDS, 0.5
    while True:
        try:
            return call()
        except Exception as error:
            if not passes(error) or time.monotonic() + pause > deadline:
                raise
            reason = " ".join(str(error).split())[:300]
            log.warning("found_server_unreachable retry_in=%.0fs reason=%s", pause, reason)
        time.sleep(pause)
        pause = min(pause * 2, 30.0)
