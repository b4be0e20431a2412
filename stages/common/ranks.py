"""The rank of this process among the processes of one training, by Keras' own environment variables.

What starts the processes sets the variables, the same for each but the rank: a launcher on this host
(launcher.py), containers, an Indexed Job of Kubernetes.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from stages.common.errors import UsageError

COORDINATOR = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES"
RANK = "KERAS_DISTRIBUTION_PROCESS_ID"


@dataclass(frozen=True)
class Ranks:
    """A process among those of one training.

    Attributes:
        rank: its number, from 0. Rank 0 alone writes.
        count: how many processes there are.
        coordinator: host:port that rank 0 listens on; "" where there is one process.
    """

    rank: int = 0
    count: int = 1
    coordinator: str = ""

    @property
    def loopback(self) -> bool:
        """Whether all processes are on this host."""
        return self.coordinator.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")

    def environment(self) -> dict[str, str]:
        """The variables that `read` reads."""
        return {COORDINATOR: self.coordinator, PROCESSES: str(self.count), RANK: str(self.rank)}


def is_first() -> bool:
    """Whether this process writes: it is rank 0, or the only one."""
    return read().rank == 0


def read(environment: Mapping[str, str] = os.environ) -> Ranks:
    """Read this process's rank; without the variables, it is the only process.

    Raises:
        UsageError: a variable is missing or no number in range.
    """
    text = {name: environment.get(name, "") for name in (COORDINATOR, PROCESSES, RANK)}
    if text[PROCESSES] in ("", "1"):
        return Ranks()
    if not text[PROCESSES].isdecimal() or not text[RANK].isdecimal():
        raise UsageError(
            f"{PROCESSES} is {text[PROCESSES]!r} and {RANK} {text[RANK]!r}; both must be numbers"
        )
    count, rank = int(text[PROCESSES]), int(text[RANK])
    if rank >= count:
        raise UsageError(f"{RANK} is {rank}; must be 0 to {count - 1}, as {PROCESSES} is {count}")
    # Keras allows the addresses of all processes; the first is the coordinator's.
    coordinator = text[COORDINATOR].partition(",")[0].strip()
    if not coordinator.rpartition(":")[2].isdecimal():
        raise UsageError(f"{COORDINATOR} is {text[COORDINATOR]!r}; must be host:port of rank 0")
    return Ranks(rank, count, coordinator)
