"""Speed of each process of a training in several processes, for MLflow: `rank0/step_ms` and so on.

A step ends on all ranks at the same time, as each waits for the others' gradients. So the figures that tell
ranks apart are what a rank waits for: its data, and the network.
"""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from stages.common import ranks

if TYPE_CHECKING:
    import jax


def measure(model: keras.Model, step_seconds: float, data_wait_share: float) -> dict[str, float]:
    """Measure this process at the end of an epoch, and collect what all processes have measured.

    Called by all processes at the same epoch. Takes as long as the collectives of two steps.

    Args:
        model: the network; a step adds up the gradients of its trainable weights over the processes.
        step_seconds: mean seconds of a step of this process.
        data_wait_share: the part (0-1) of the epoch's training in which the next batch was not ready.

    Returns:
        Of each rank `rankN/step_ms`, `rankN/data_wait_share` and `rankN/collectives_share`, the part (0-1) of
        a step that adding up the gradients would take alone; other work of a step may overlap with it.
        Empty where there is one process.
    """
    if ranks.read().count == 1:
        return {}
    from jax.experimental import multihost_utils

    seconds = _seconds_of_sum([tuple(weight.shape) for weight in model.trainable_variables])
    figures = {
        "step_ms": step_seconds * 1000,
        "data_wait_share": data_wait_share,
        "collectives_share": min(1.0, seconds / step_seconds) if step_seconds else 0.0,
    }
    rows = multihost_utils.process_allgather(np.array(list(figures.values()), np.float32))
    return {
        f"rank{rank}/{name}": float(value)
        for rank, row in enumerate(rows)
        for name, value in zip(figures, row, strict=True)
    }


def _seconds_of_sum(shapes: Sequence[tuple[int, ...]]) -> float:
    """Seconds that adding up float32 arrays of these shapes over all devices takes; the second of two times.

    An array for each weight, as in a step: each waits where a message takes long.
    """
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    distribution = keras.distribution.distribution()
    mesh, axis = distribution.device_mesh.backend_mesh, distribution.batch_dim_name
    divided, add = NamedSharding(mesh, PartitionSpec(axis)), _adding(NamedSharding(mesh, PartitionSpec()))
    rows = [
        jax.make_array_from_callback(
            (mesh.size, *shape), divided, lambda _, shape=shape: np.ones((1, *shape), np.float32)
        )
        for shape in shapes
    ]
    started = time.monotonic()
    for _ in range(2):
        # The first compiles, and waits for the last process to come here.
        started = time.monotonic()
        jax.block_until_ready(add(rows))
    return time.monotonic() - started


@lru_cache
def _adding(replicated: "jax.sharding.Sharding") -> Callable[[Any], Any]:
    """What adds up arrays over their first axis, compiled once for arrays of the same shapes."""
    import jax

    compiled: Callable[[Any], Any] = jax.jit(
        lambda rows: [row.sum(axis=0) for row in rows], out_shardings=replicated
    )
    return compiled
