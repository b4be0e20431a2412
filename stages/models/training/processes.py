"""Several processes that train one network together, by way of JAX: how they join, agree, stop and leave.

JAX is imported within functions: other backends do without.
"""

import atexit
import hashlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import numpy as np

from stages.common import ranks
from stages.common.errors import LearnerError, TrainingInterruptedError, TransientError, exit_status
from stages.common.ranks import Ranks

# A process that has sent nothing for so long is taken for dead, and JAX ends the others with status 134.
_HEARTBEAT_SECONDS = 20
# How long a process waits for all others to join: a pod's node may have to boot and to pull the image.
_JOINING_SECONDS = 900
# How long a process waits for the others when it leaves.
_LEAVING_SECONDS = 10
# In messages of JAX about another process that is gone.
_LOST = ("gloo", "nccl", "coordination", "connection", "heartbeat", "deadline", "unavailable")
_steps = count(1)


class LostRankError(TransientError):
    """Another process of the training is gone; the same command resumes at the last checkpoint."""


@contextmanager
def joined(place: Ranks) -> Iterator[None]:
    """Join the other processes for the block."""
    if place.count == 1:
        yield
        return
    import jax
    from jax.experimental import multihost_utils

    host, _, port = place.coordinator.rpartition(":")
    jax.distributed.initialize(
        place.coordinator,
        place.count,
        place.rank,
        initialization_timeout=_JOINING_SECONDS,
        # All of it is known; in a pod JAX would warn that it has no client of Kubernetes to ask.
        cluster_detection_method="deactivate",
        heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
        shutdown_timeout_seconds=_LEAVING_SECONDS,
        # By default rank 0 listens on all of the host's addresses.
        coordinator_bind_address=f"{host}:{port}" if place.loopback else None,
    )
    try:
        yield
        # Rank 0 may still write a checkpoint; leaving waits a few seconds only.
        multihost_utils.sync_global_devices("trained")
        jax.distributed.shutdown()
    except TrainingInterruptedError:
        # Of all ranks after the same batch. After another error the others may never come here.
        jax.distributed.shutdown()
        raise
    except BaseException as error:
        cause = _named(error)
        # JAX would wait for the others when this process ends, and they wait for this one in the next step.
        atexit.register(_leave, exit_status(cause))
        if cause is error:
            raise
        raise cause from error
    finally:
        # Python's handler again: JAX has put its own in its place.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


def _named(error: BaseException) -> BaseException:
    """LostRankError in the place of what JAX raises when another process is gone."""
    text = " ".join(str(error).split())
    lost = type(error).__name__ == "JaxRuntimeError" and any(word in text.lower() for word in _LOST)
    return LostRankError(f"another rank is gone; run it again to resume: {text[:200]}") if lost else error


def _leave(status: int) -> None:
    """End the process without the functions that were registered before."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def stop_requested() -> bool:
    """Whether SIGTERM has come to any of several processes; all get the answer at the same step.

    All have to call it as often. JAX notes the signal and agrees on the step.
    """
    from jax.experimental import multihost_utils

    return bool(multihost_utils.reached_preemption_sync_point(next(_steps)))


def check_agreement(subject: str, value: str) -> None:
    """Check that all processes have the same value.

    Raises:
        LearnerError: they do not.
    """
    if ranks.read().count == 1:
        return
    from jax.experimental import multihost_utils

    digest = np.frombuffer(hashlib.sha256(value.encode()).digest(), np.uint8)
    every = multihost_utils.process_allgather(digest)
    if different := [rank for rank, other in enumerate(every) if (other != every[0]).any()]:
        raise LearnerError(
            f"{subject} of rank {different[0]} differs from that of rank 0; all ranks need the same data, "
            "code, params and folder of checkpoints"
        )
