"""How much faster networks train on this CPU with the fused batch normalization than with Keras' own.

`python -m benchmarks.bench_normalization` prints images per second of both, run alternately, and of the
bound: the same network without batch normalization.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import markdown, rates
from stages.common.keras_import import import_keras

# The side of the images.
_NETWORKS = {"minivggnet": 32, "minigooglenet": 32, "resnet": 32, "deepergooglenet": 64, "alexnet": 227}
_BATCH, _CLASSES, _STEPS, _REPEATS = 64, 10, 5, 7


def main(networks: dict[str, int], steps: int, repeats: int) -> None:
    """Measure, and print a table with a row per network.

    Args:
        networks: sides of the images by network.
        steps: batches of a measurement.
        repeats: measurements of each way; the median counts.
    """
    rows = []
    for network, side in networks.items():
        ways = {way: _training(network, side, way, steps) for way in ("ours", "keras", "bound")}
        for compute in ways.values():
            compute()  # compiles
        speeds = rates(repeats, ways)
        ours, keras, bound = (speeds[way] for way in ("ours", "keras", "bound"))
        figures = (f"{keras:.0f}", f"{ours:.0f}", f"{ours / keras:.2f}", f"{bound:.0f}")
        rows.append((f"`{network}`", f"{side}²", *figures))
        print(f"{network}: {ours / keras:.2f} times as fast as Keras' own", flush=True)
    header = ("network", "images", "images/s", "fused", "", "without batch normalization")
    print(f"\n{markdown(header, rows)}")


def _training(network: str, side: int, way: str, steps: int) -> Callable[[], int]:
    """Trains steps on random images, and returns how many images those were."""
    import_keras()
    import keras

    from stages.models import networks
    from stages.models.training import normalization

    model = networks.build(network, (side, side, 3), _CLASSES, statistics=None)
    if way == "bound":
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.call, layer.trainable = _identity, False
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    if way == "ours":
        normalization.fuse(model)
    random = np.random.default_rng(0)
    images = random.random((_BATCH, side, side, 3), dtype=np.float32)
    labels = random.integers(0, _CLASSES, _BATCH)

    def train() -> int:
        for _ in range(steps):
            model.train_on_batch(images, labels)
        return steps * _BATCH

    return train


def _identity(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    return inputs


if __name__ == "__main__":
    main(_NETWORKS, _STEPS, _REPEATS)
