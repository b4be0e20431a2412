"""Ports for servers of tests."""

import itertools
import os
import socket
from collections.abc import Iterator

# Below the ports of outgoing connections (from 32768 on Linux, 49152 on macOS): one of those may be taken
# between the test's choice and the server's start, or while a server restarts at the same port.
_FIRST, _PER_WORKER, _WORKERS = 20_000, 1_000, 12


def free_port() -> int:
    """A port of the loopback interface that nothing listens on; no two tests get the same."""
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("all ports of this test worker are in use")


def _ports() -> Iterator[int]:
    """Those of this worker of pytest-xdist; a process without workers starts at a place by its id."""
    name = os.environ.get("PYTEST_XDIST_WORKER", "")
    worker = int(name.removeprefix("gw")) if name else os.getpid()
    first = _FIRST + worker % _WORKERS * _PER_WORKER
    skipped = os.getpid() % _PER_WORKER
    return itertools.chain(range(first + skipped, first + _PER_WORKER), range(first, first + skipped))


_PORTS = _ports()
