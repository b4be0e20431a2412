"""A pod's log, line by line as it comes; the lines with the worker's result are taken out."""

import logging
import math
import time
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from pipelines.runners._ended import Tail
from pipelines.runners._pod import CONTAINER
from pipelines.worker.lines import Result

log = logging.getLogger(__name__)
# A connection that was silent for so long is opened again: a dead one looks the same.
_SECONDS_OF_SILENCE = 300


class Log:
    """Follows a log across broken connections; no line is logged twice.

    Attributes:
        tail: The last lines.
    """

    def __init__(self, api: Any, namespace: str, name: str, label: str = "") -> None:
        self._api, self._namespace, self._name = api, namespace, name
        self._last, self._received = "", 0.0
        self._result = Result()
        self.tail = Tail(label)

    def follow(self) -> None:
        """Log what the container says, until it ends or the connection breaks."""
        self._read(follow=True)

    def read_rest(self) -> None:
        """Log what has been said since, after the container's end."""
        self._read(follow=False)

    def result(self) -> dict[str, Any] | None:
        """The worker's result; None until its lines have come."""
        return self._result.value

    def _read(self, *, follow: bool) -> None:
        # A log that is requested again repeats the lines up to this time.
        newest = self._last
        since = math.ceil(time.time() - self._received) + 5 if self._received else None
        try:
            response = self._api.read_namespaced_pod_log(
                self._name,
                self._namespace,
                container=CONTAINER,
                follow=follow,
                timestamps=True,
                since_seconds=since,
                _preload_content=False,
                _request_timeout=(30, _SECONDS_OF_SILENCE),
            )
            rest = b""
            for piece in response.stream(65536, decode_content=True):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self._see(line, newest)
            # Half a line is requested again, unless it is the last one.
            if rest and not follow:
                self._see(rest, newest)
        except (ApiException, HTTPError) as error:
            log.debug("reopened_log_stream reason=%s", error)

    def _see(self, line: bytes, newest: str) -> None:
        moment, _, text = line.decode(errors="replace").rstrip("\r").partition(" ")
        if (key := _padded(moment)) <= newest:
            return
        self._last, self._received = key, time.time()
        if self._result.sees(text):
            return
        self.tail.add(text)
        log.info("%s", self.tail.label + text)


def _padded(moment: str) -> str:
    """A timestamp whose fraction has nine digits, so that texts compare as times do."""
    seconds, _, fraction = moment.rstrip("Z").partition(".")
    return f"{seconds}.{fraction:0<9}"
