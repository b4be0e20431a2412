"""How much faster networks compute on this CPU with oneDNN.

`python -m benchmarks.bench_onednn` prints images per second and peak memory, without and with it. TensorFlow
reads its variable once, so each figure is of a process of its own; both ways run alternately. On a CPU with
AVX-512 VNNI TensorFlow's own choice is the same as ours.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from stages.common.keras_import import import_keras

# Of each training: the side and the channels of its images. "mobilenet_v2" only computes features.
_TRAINED = {"lenet": (28, 1), "shallownet": (32, 3), "minivggnet": (32, 3), "resnet": (32, 3)}
_FEATURES = "mobilenet_v2"
_BATCH, _CLASSES, _SECONDS, _REPEATS = 64, 10, 10, 3


def main() -> None:
    """Measure, and print a line per network."""
    for network in (*_TRAINED, _FEATURES):
        without, used = zip(*((_run(network, "0"), _run(network, "1")) for _ in range(_REPEATS)), strict=True)
        rates = [statistics.median(figures["rate"] for figures in way) for way in (without, used)]
        memory = [max(figures["memory"] for figures in way) for way in (without, used)]
        ratio = rates[1] / rates[0]
        print(
            f"{network}: {rates[0]:.0f} images/s, with oneDNN {rates[1]:.0f}, {ratio:.2f} times as many; "
            f"{memory[0]:.0f} MB, {memory[1]:.0f} MB",
            flush=True,
        )


def _run(network: str, used: str) -> dict[str, float]:
    """What a process of its own measures."""
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_onednn", network],
        env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": used},
        stdout=subprocess.PIPE,
        check=True,
    )
    figures: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return figures


def measure(network: str, seconds: float) -> dict[str, float]:
    """Images per second over so many seconds, and the process's peak memory in MB."""
    compute = _training(*_TRAINED[network], network) if network in _TRAINED else _features()
    for _ in range(2):  # compiles
        compute()
    begun, batches = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        compute()
        batches += 1
    rate = batches * _BATCH / (time.monotonic() - begun)
    return {"rate": rate, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}


def _training(side: int, channels: int, network: str) -> Callable[[], object]:
    """A step of a training on random images."""
    import_keras()
    import keras

    from stages.models import networks

    model = networks.build(network, (side, side, channels), _CLASSES, statistics=None)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    random = np.random.default_rng(0)
    images = random.random((_BATCH, side, side, channels), dtype=np.float32)
    labels = random.integers(0, _CLASSES, _BATCH)
    return lambda: model.train_on_batch(images, labels)


def _features() -> Callable[[], object]:
    """A batch of features of photographs; what a network has learnt changes nothing."""
    import_keras()
    import keras

    model = keras.applications.MobileNetV2((224, 224, 3), alpha=0.35, include_top=False, weights=None)
    images = np.random.default_rng(0).random((_BATCH, 224, 224, 3), dtype=np.float32)
    return lambda: model.predict_on_batch(images)


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(measure(sys.argv[1], _SECONDS)))
    else:
        main()
