"""What one checkpoint of a training costs: bytes, CPU seconds, seconds.

`python -m benchmarks.bench_checkpoint`. The state is that of a training with Adam of all layers, the largest
there is: weights and two averages of each. The first checkpoint is left out. No image is read: what a network
has learnt changes nothing.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras

from stages.models import networks
from stages.models.training import checkpoints
from stages.models.training.callbacks import arrays, state_variables
from stages.models.training.checkpoints import Progress, State

_CLASSES, _REPEATS = 10, 5
_MINUTES = 10.0
_CORES = 2
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "minivggnet, 32²": lambda: networks.build(
        "minivggnet", shape=(32, 32, 3), classes=_CLASSES, statistics=None
    ),
    "MobileNetV2, 224²": lambda: keras.applications.MobileNetV2(weights=None, classes=_CLASSES),
    "ResNet50, 224²": lambda: keras.applications.ResNet50(weights=None, classes=_CLASSES),
}


class Cost(NamedTuple):
    """Of one checkpoint, the median of each figure."""

    size: int
    cpu: float
    seconds: float


def measure(build: Callable[[], keras.Model]) -> Cost:
    """Write checkpoints as `Checkpoint` of stages/models/training/saving.py does within an epoch."""
    model = build()
    model.compile(optimizer="adam", loss="categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    progress = Progress(1, over=False, best=None, history={}, batch=1)
    cpu, seconds = [], []
    with tempfile.TemporaryDirectory(prefix="convoy-checkpoint-") as work:
        for _ in range(1 + _REPEATS):
            begun = time.process_time(), time.monotonic()
            checkpoints.write(Path(work), State(progress, arrays(state_variables(model)), [], None))
            cpu.append(time.process_time() - begun[0])
            seconds.append(time.monotonic() - begun[1])
        (size,) = [path.stat().st_size for path in Path(work).iterdir()]
    middle = _REPEATS // 2
    return Cost(size, sorted(cpu[1:])[middle], sorted(seconds[1:])[middle])


def main() -> None:
    """Print a row for each network."""
    available = 60 * _MINUTES * _CORES
    for name, build in NETWORKS.items():
        cost = measure(build)
        share = f"every {_MINUTES:g} minutes {cost.cpu / available:.3%} of {_CORES} cores"
        print(f"{name}: {cost.size / 1e6:.1f} MB, {cost.cpu:.2f} CPU s, {cost.seconds:.2f} s; {share}")


if __name__ == "__main__":
    main()
