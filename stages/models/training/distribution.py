"""One training over all devices of this process and over several processes.

On JAX by `keras.distribution.DataParallel`, for devices and processes alike; on TensorFlow by
`tf.distribute.MirroredStrategy`, for the GPUs of one process. A batch is divided among the devices and its
gradients are added up, so that a step is that of one device with the whole batch. On one device nothing here
does anything.

Under JAX, loss, weights, batch normalization and dropout are those of one device but for rounding. A batch
that does not divide, as an epoch's last, is computed whole on each device, which costs the time of one
undivided step an epoch. Rejected: filling it up with images of weight 0, which changes the statistics of
batch normalization and the random numbers of dropout; repeating images, which counts them twice in the
epoch's loss; leaving it out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from stages.common import keras_import, log, ranks
from stages.common.errors import LearnerError
from stages.common.ranks import Ranks
from stages.data.loader import Batch, Share
from stages.models.training import processes
from stages.models.training.callbacks import arrays, assign

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True)
class Devices:
    """What a network is trained on.

    Attributes:
        count: how many devices, over all processes.
        share: what the loader divides batches by; None where this process has whole ones.
    """

    count: int = 1
    share: Share | None = None

    def local(self, model: keras.Model) -> keras.Model:
        """The trained network with variables of this process alone, to predict with and to save.

        A network of several processes is computed by all of them together, and its file was torn when another
        process had gone.
        """
        if self.count == 1:
            return model
        copy = keras.models.clone_model(model)
        assign(copy.variables, arrays(model.variables))
        return copy


@dataclass(frozen=True)
class _Replicas:
    """How a batch lies on the devices of JAX: `divided` by its rows, or `replicated` on each."""

    ranks: Ranks
    devices: int
    divided: "jax.sharding.Sharding"
    replicated: "jax.sharding.Sharding"

    def rows(self, images: int) -> slice:
        """This process's rows of a batch of so many images; all, where the number does not divide."""
        if images % self.devices:
            return slice(None)
        share = images // self.ranks.count
        return slice(self.ranks.rank * share, (self.ranks.rank + 1) * share)

    def place(self, batch: Batch, images: int) -> Batch:
        """Make the batch of all processes from this one's rows."""
        import jax

        layout = self.replicated if images % self.devices else self.divided
        return tuple(
            jax.make_array_from_process_local_data(layout, array, (images, *array.shape[1:]))
            for array in batch
        )


@contextmanager
def over_all_devices(batch_size: int) -> Iterator[Devices]:
    """Build and train networks of this block on all devices of all processes.

    Args:
        batch_size: images per step, over all devices. Each process uses as many devices as divide it.

    Raises:
        LearnerError: there are several processes, and they do not divide the batch, or Keras is not on JAX.
        LostRankError: another process is gone; see processes.py.
    """
    place, backend = ranks.read(), keras.backend.backend()
    if backend == "jax":
        with processes.joined(place), _jax_devices(place, batch_size) as devices:
            yield devices
        return
    if place.count > 1:
        raise LearnerError(
            f"{ranks.PROCESSES} is {place.count} and Keras is on {backend}; only KERAS_BACKEND=jax trains in "
            "several processes"
        )
    names = keras_import.gpus() if backend == "tensorflow" else []
    if len(names) < 2:
        yield Devices()
        return
    import tensorflow as tf

    log.event("shared_batches", devices=len(names), by="tf.distribute.MirroredStrategy")
    with tf.distribute.MirroredStrategy(names).scope():
        yield Devices(len(names))


@contextmanager
def _jax_devices(place: Ranks, batch_size: int) -> Iterator[Devices]:
    """Train on the devices of all processes, as many of each as divide the batch."""
    from jax.sharding import NamedSharding, PartitionSpec

    chosen = _choose_devices(place, batch_size)
    if len(chosen) == 1:
        yield Devices()
        return
    by = "keras.distribution.DataParallel"
    log.event("shared_batches", devices=len(chosen), processes=place.count, by=by)
    distribution = keras.distribution.DataParallel(devices=chosen, auto_shard_dataset=False)
    mesh = distribution.device_mesh.backend_mesh
    divided, replicated = PartitionSpec(distribution.batch_dim_name), PartitionSpec()
    replicas = _Replicas(place, len(chosen), NamedSharding(mesh, divided), NamedSharding(mesh, replicated))
    with distribution.scope(), _placed_batches_stay():
        yield Devices(len(chosen), replicas)


def _choose_devices(place: Ranks, batch_size: int) -> "list[jax.Device]":
    """Devices of all processes in the order of ranks, as many of each."""
    import jax

    by_rank: list[list[jax.Device]] = [[] for _ in range(place.count)]
    for device in sorted(jax.devices(), key=lambda device: device.id):
        by_rank[device.process_index].append(device)
    least = min(map(len, by_rank))
    dividing = [number for number in range(1, least + 1) if batch_size % (place.count * number) == 0]
    if not dividing:
        raise LearnerError(
            f"train.batch_size is {batch_size}; must be a multiple of {place.count}, the processes"
        )
    return [device for devices in by_rank for device in devices[: dividing[-1]]]


@contextmanager
def _placed_batches_stay() -> Iterator[None]:
    """Let Keras take batches as the loader has placed them.

    Keras places every batch of an epoch as the first one, divided, and fails on a last one that does not
    divide. It has no option for that, so its own function is replaced for the block.
    """
    import jax
    from keras.src.backend.jax import distribution_lib

    place = distribution_lib.distribute_data_input

    def keep_placed(array: Any, *arguments: Any, **options: Any) -> Any:
        return array if isinstance(array, jax.Array) else place(array, *arguments, **options)

    distribution_lib.distribute_data_input = keep_placed
    try:
        yield
    finally:
        distribution_lib.distribute_data_input = place
