"""What a link itself does: the time of a round trip, and the rate of one TCP connection."""

import json
import socket
import subprocess
import sys
import time

import numpy as np

from benchmarks.links import Host

_PORT, _SECONDS_TO_CONNECT = 4322, 60.0
_ROUND_TRIPS, _BYTES_A_TIME = 200, 2**16
_WORDS = (sys.executable, "-m", "benchmarks.link_speed")


def measured(first: Host, second: Host, size: int = 25_000_000) -> dict[str, float]:
    """The link's own `round_trip_ms`, the median, and `mbit` of `size` bytes by one TCP connection."""
    answering = subprocess.Popen(first.command(*_WORDS, "answer", first.address))
    asking = subprocess.run(
        second.command(*_WORDS, "ask", first.address, str(size)), stdout=subprocess.PIPE, check=True
    )
    answering.wait()
    figures: dict[str, float] = json.loads(asking.stdout)
    return figures


def answer(address: str) -> None:
    """Send back what comes one byte at a time, then take bytes until the other end closes."""
    with socket.create_server((address, _PORT)) as server:
        connection, _ = server.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        for _ in range(_ROUND_TRIPS):
            connection.sendall(connection.recv(1))
        while connection.recv(_BYTES_A_TIME):
            pass
        connection.sendall(b".")


def ask(address: str, size: int) -> None:
    """Time round trips, then bytes up to the answer that all have come; prints both."""
    deadline = time.monotonic() + _SECONDS_TO_CONNECT
    while (connection := _connected(address)) is None:
        assert time.monotonic() < deadline, f"nothing answers at {address}"
        time.sleep(0.1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        trips = []
        for _ in range(_ROUND_TRIPS):
            started = time.monotonic()
            connection.sendall(b".")
            connection.recv(1)
            trips.append(time.monotonic() - started)
        started = time.monotonic()
        connection.sendall(bytes(size))
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
        seconds = time.monotonic() - started
    figures = {"round_trip_ms": float(np.median(trips)) * 1000, "mbit": size * 8 / seconds / 1e6}
    print(json.dumps(figures))


def _connected(address: str) -> socket.socket | None:
    try:
        return socket.create_connection((address, _PORT))
    except ConnectionRefusedError:
        return None


if __name__ == "__main__":
    answer(sys.argv[2]) if sys.argv[1] == "answer" else ask(sys.argv[2], int(sys.argv[3]))
