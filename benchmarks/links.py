"""A link between two hosts, which are network namespaces of this machine, with a rate and a delay.

`tc tbf` limits the rate. `tc netem` would delay, and kernels of many virtual machines lack it. So packets
that are to be late go by way of two TUN devices and of processes, which hold each for as long.
"""

import os
import shutil
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fcntl import ioctl
from pathlib import Path
from select import select
from typing import NamedTuple

DEVICE = "link0"
ADDRESSES = ("10.99.0.1", "10.99.0.2")
_TOOLS = ("ip", "tc", "unshare")
# Of linux/if_tun.h: a device of packets without a header of the kernel's.
_TUNSETIFF, _IFF_TUN_NO_PI = 0x400454CA, 0x1001
_LARGEST_PACKET = 2**16


class Link(NamedTuple):
    """What a link is like.

    Attributes:
        name: For people.
        mbit: Its rate in Mbit/s in each direction; None: as fast as the machine.
        delay: Milliseconds in each direction, beside what the machine takes.
    """

    name: str
    mbit: int | None = None
    delay: float = 0.0


class Host(NamedTuple):
    """A network namespace.

    Attributes:
        namespace: Its name.
        address: Of its end of the link.
    """

    namespace: str
    address: str

    def command(self, *words: str) -> list[str]:
        """A command's words that run it there. It may set the host's name."""
        return ["ip", "netns", "exec", self.namespace, "unshare", "--uts", *words]


def missing() -> str | None:
    """What this machine lacks, as a line; None where `joined` works."""
    tools = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need root on Linux"
    return f"{', '.join(tools)} missing (Debian: iproute2, util-linux)" if tools else None


@contextmanager
def joined(link: Link) -> Iterator[tuple[Host, Host]]:
    """Two hosts with the link between them."""
    first, second = (Host(f"convoy-{os.getpid()}-{end}", address) for end, address in enumerate(ADDRESSES))
    with ExitStack() as stack:
        for host in (first, second):
            _run("ip", "netns", "add", host.namespace)
            stack.callback(_run, "ip", "netns", "delete", host.namespace)
        if link.delay:
            stack.enter_context(_late_devices(first, second, link.delay))
        else:
            peer = ["peer", "name", DEVICE, "netns", second.namespace]
            _run("ip", "-n", first.namespace, "link", "add", DEVICE, "type", "veth", *peer)
        for host in (first, second):
            ip = ["ip", "-n", host.namespace]
            _run(*ip, "address", "add", f"{host.address}/24", "dev", DEVICE)
            _run(*ip, "link", "set", "lo", "up")
            _run(*ip, "link", "set", DEVICE, "up")
            if link.mbit:
                rate = ["tbf", "rate", f"{link.mbit}mbit", "burst", "16kb", "latency", "50ms"]
                _run("tc", "-n", host.namespace, "qdisc", "add", "dev", DEVICE, "root", *rate)
        yield first, second


@contextmanager
def _late_devices(first: Host, second: Host, delay: float) -> Iterator[None]:
    """A TUN device in each namespace, and a process that passes packets from one to the other."""
    with ExitStack() as stack:
        files = []
        for host in (first, second):
            file = os.open("/dev/net/tun", os.O_RDWR)
            stack.callback(os.close, file)
            name = f"tun{os.getpid()}"
            ioctl(file, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
            _run("ip", "link", "set", name, "netns", host.namespace, "name", DEVICE)
            files.append(file)
        # A process for each direction: one for both would pass on less than 100 Mbit/s of each.
        near, far = files
        forwarders = [forwarder(near, far, delay), forwarder(far, near, delay)]
        try:
            yield
        finally:
            for process in forwarders:
                process.kill()
                process.wait()


def forwarder(source: int, sink: int, delay: float) -> "subprocess.Popen[bytes]":
    """Start a process that passes packets from one open file to another, milliseconds after each came."""
    words = [sys.executable, "-m", "benchmarks.links", str(source), str(sink), str(delay)]
    return subprocess.Popen(words, pass_fds=(source, sink))


def bytes_sent() -> int:
    """Bytes that this process's host has sent over the link."""
    lines = Path("/proc/net/dev").read_text(encoding="ascii").splitlines()
    (fields,) = (line.split() for line in lines if line.lstrip().startswith(f"{DEVICE}:"))
    return int(fields[9])


def _forward(source: int, sink: int, seconds: float) -> None:
    """Pass packets on, in one thread: two take turns so slowly that packets wait; ends with the process."""
    held: deque[tuple[float, bytes]] = deque()
    while True:
        wait = max(0.0, held[0][0] - time.monotonic()) if held else None
        if select([source], [], [], wait)[0]:
            held.append((time.monotonic() + seconds, os.read(source, _LARGEST_PACKET)))
        while held and held[0][0] <= time.monotonic():
            # A device that is not up yet takes none.
            with suppress(OSError):
                os.write(sink, held.popleft()[1])


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


if __name__ == "__main__":
    # Before the trainings, which use all cores: a real link does not wait for them.
    os.nice(-10)
    _forward(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000)
