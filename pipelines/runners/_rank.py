"""What a rank of a training is started with, and what the ends of all ranks mean together."""

import socket
from dataclasses import replace
from typing import Any

from pipelines.runners import Work

Result = dict[str, Any]
# Of the coordinator in a network where nothing else listens at rank 0's address.
_PORT = 4321


def own_address(*, shares_host: bool) -> tuple[str, int]:
    """Host and port at which rank 0 listens.

    Args:
        shares_host: Whether all ranks have the host's network.

    Returns:
        The loopback address with a port that no program listens on, or all addresses of rank 0's own network.
    """
    if not shares_host:
        return "0.0.0.0", _PORT  # noqa: S104
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return "127.0.0.1", int(server.getsockname()[1])


def work_of(rank: int, work: Work, coordinator: str) -> Work:
    """The work of a rank.

    Args:
        rank: Its number.
        work: The stage without ranks; rank 0 is the same with Keras' variables.
        coordinator: HOST:PORT of rank 0, as this rank reaches it.

    Returns:
        The work; no other one has a name of this form.
    """
    variables = work.variables | {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": coordinator,
        "KERAS_DISTRIBUTION_NUM_PROCESSES": str(work.settings.nodes),
        "KERAS_DISTRIBUTION_PROCESS_ID": str(rank),
    }
    if rank == 0:
        return replace(work, variables=variables)
    return replace(
        work,
        name=f"{work.name}.rank{rank}",
        variables=variables | {"CONVOY_ACTION": "rank"},
        label=f"rank {rank}: ",
    )


def judge(results: dict[int, Result]) -> Result:
    """The result of all ranks together.

    Args:
        results: By rank, in the order in which they ended.

    Returns:
        That of rank 0 where it has saved the outputs. Otherwise the first permanent error: the rank that has
        it leaves the others with a transient one, which may come sooner. Otherwise the first error.
    """
    if results[0]["outcome"] in ("ran", "restored"):
        return results[0]
    failed = [(rank, result) for rank, result in results.items() if result["outcome"] != "ran"]
    refused = [(rank, result) for rank, result in failed if result["outcome"] == "refused"]
    rank, cause = (refused or failed)[0]
    return cause | {"reason": f"rank {rank}: {cause['reason']}"}
