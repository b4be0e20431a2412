"""Links between network namespaces, and the table of what they cost."""

import os
import re
import socket
import subprocess
import time

import pytest

from benchmarks import link_speed, links, rank_network
from benchmarks.links import Link
from tests.paths import ROOT

needs_namespaces = pytest.mark.skipif(links.missing() is not None, reason=f"a link: {links.missing()}")


def test_a_forwarder_holds_each_packet_and_their_order() -> None:
    (near, source), (sink, far) = (socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2))
    packets = [bytes([number]) * 1500 for number in range(20)]
    with near, source, sink, far:
        process = links.forwarder(source.fileno(), sink.fileno(), delay=50)
        try:
            started = time.monotonic()
            for packet in packets:
                near.send(packet)
            assert [far.recv(2**16) for _ in packets] == packets
            assert time.monotonic() - started >= 0.05
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow
@needs_namespaces
@pytest.mark.parametrize(
    "link", [Link("slow", 20), Link("slow and late", 20, 5.0)], ids=lambda link: link.name
)
def test_a_link_has_its_rate_and_its_delay(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with links.joined(link) as hosts:
        figures = link_speed.measured(*hosts, size=2_000_000)
    assert figures["round_trip_ms"] >= 2 * link.delay
    assert 0 < figures["mbit"] < 21
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert f"convoy-{os.getpid()}-" not in names


def test_what_the_machine_lacks_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    reason = links.missing()
    assert reason in (
        "ip, tc, unshare missing (Debian: iproute2, util-linux)",
        "network namespaces need root on Linux",
    )
    with pytest.raises(SystemExit, match=re.escape(f"error: {reason}")):
        rank_network.main()


def test_a_row_has_means_and_how_long_the_link_takes_for_the_bytes() -> None:
    yardstick = {"round_trip_ms": 2.26, "mbit": 80.0}
    epochs = [
        {"rank0/step_ms": step, "sent": 5e6, "loss": 1.0}
        | {f"rank{rank}/collectives_share": 0.75 for rank in (0, 1)}
        | {f"rank{rank}/data_wait_share": rank / 100 for rank in (0, 1)}
        for step in (900.0, 1100.0)
    ]
    expected = "| lenet | slow | 2.26 | 80 | 1,000 | 75.0%, 75.0% | 0.0%, 1.0% | 750 | 5.0 | 500 |"
    assert rank_network.row("lenet", "slow", yardstick, epochs) == expected
