"""What a slow network costs two processes that train one network.

`KERAS_BACKEND=jax python -m benchmarks.rank_network`, as root on Linux with iproute2. Each rank has a network
namespace and a core of its own; benchmarks/links.py joins them. Prints a row per network and link: what the
link itself does (the time of a round trip, and the rate of one TCP connection), the training's own figures of
each rank as MLflow has them, and what rank 0 sends a step. The first epoch compiles and is left out. On a
busy machine a step takes longer, and the shares of what the link costs are lower.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks import link_speed, links
from benchmarks.links import Host, Link
from benchmarks.pipeline import Pipeline
from stages.common.ranks import Ranks
from stages.data.store import Reader
from stages.models import learners
from stages.models.learners.cnn import Params

_LINKS = (Link("not limited"), Link("100 Mbit/s", 100), Link("100 Mbit/s, 1 ms", 100, 1.0))
# With the side of images: 1.2 and 8.5 million weights.
_MEMBERS = {"lenet": 28, "minivggnet": 64}
_IMAGES, _BATCH, _EPOCHS, _PORT = 480, 64, 3, 4321
_COLUMNS = (
    "network", "link", "round trip ms", "link Mbit/s", "step ms", "collectives_share", "data_wait_share",
    "adding up ms", "MB sent a step", "ms for them by the link's rate",
)  # fmt: skip


def main() -> None:
    """Measure, and print a table."""
    if reason := links.missing():
        sys.exit(f"error: {reason}")
    print(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}")
    with tempfile.TemporaryDirectory(prefix="convoy-ranks-") as work:
        packed = {
            member: Pipeline.of_two_classes(Path(work) / member, _IMAGES, side).packed
            for member, side in _MEMBERS.items()
        }
        for member in _MEMBERS:
            for link in _LINKS:
                with links.joined(link) as hosts:
                    yardstick = link_speed.measured(*hosts)
                    epochs = _trained(hosts, member, packed[member])
                print(row(member, link.name, yardstick, epochs), flush=True)


def row(member: str, link: str, yardstick: dict[str, float], epochs: list[dict[str, float]]) -> str:
    """A row of the table.

    Args:
        member: The network's name.
        link: The link's.
        yardstick: `round_trip_ms` and `mbit` of the link.
        epochs: The figures of each epoch that counts.
    """
    mean = {name: float(np.mean([values[name] for values in epochs])) for name in epochs[0]}
    step = mean["rank0/step_ms"]
    shares = [
        ", ".join(f"{mean[f'rank{rank}/{name}']:.1%}" for rank in range(2))
        for name in ("collectives_share", "data_wait_share")
    ]
    cells = (
        member,
        link,
        f"{yardstick['round_trip_ms']:.2f}",
        f"{yardstick['mbit']:,.0f}",
        f"{step:,.0f}",
        *shares,
        f"{mean['rank0/collectives_share'] * step:,.0f}",
        f"{mean['sent'] / 1e6:.1f}",
        f"{mean['sent'] * 8 / (yardstick['mbit'] * 1e3):,.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _trained(hosts: tuple[Host, Host], member: str, packed: Path) -> list[dict[str, float]]:
    """Train by one process on each host; what rank 0 reports of each epoch but the first."""
    cores = sorted(os.sched_getaffinity(0))[: len(hosts)]
    coordinator = f"{hosts[0].address}:{_PORT}"
    words = [sys.executable, "-m", "benchmarks.rank_network"]
    started = [
        subprocess.Popen(
            host.command("taskset", "--cpu-list", str(core), *words, host.address, member, str(packed)),
            env=os.environ | Ranks(rank, len(hosts), coordinator).environment(),
            stdout=subprocess.PIPE,
        )
        for rank, (host, core) in enumerate(zip(hosts, cores, strict=True))
    ]
    try:
        (first, *_) = [process.communicate()[0] for process in started]
    finally:
        for process in started:
            process.kill()
    epochs: list[dict[str, float]] = json.loads(first.splitlines()[-1])
    return epochs


def train(address: str, member: str, packed: str) -> None:
    """Train as one rank, and print the figures of all epochs but the first, with the bytes `sent` a step."""
    # gloo listens on the address that belongs to the host's name.
    socket.sethostname(address)
    values: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["models"][member]
    values["train"] |= {"epochs": _EPOCHS, "batch_size": _BATCH}
    learner = learners.create(Params.model_validate(values))
    epochs: list[dict[str, float]] = []
    with Reader(Path(packed) / "train.h5") as rows, Reader(Path(packed) / "val.h5") as val:
        # After an epoch, the figures add up as many bytes as two steps.
        steps = -(-len(rows) // _BATCH) + 2
        sent = links.bytes_sent()

        def on_epoch(_: int, figures: dict[str, float]) -> None:
            nonlocal sent
            before, sent = sent, links.bytes_sent()
            epochs.append(figures | {"sent": (sent - before) / steps})

        learner.fit(rows, val, on_epoch)
    print(json.dumps(epochs[1:]))


if __name__ == "__main__":
    train(*sys.argv[1:]) if len(sys.argv) > 1 else main()
