"""How much faster networks train on this CPU with the fused batch normalization than with Keras' own.

`python -m benchmarks.bench_normalization` prints images per second of both, run alternately, and of the
bound: the same network without batch normalization.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness import markdown, rates
from stages.common.errors import LearnerError
from stages.common.keras_import import import_keras


class Case(NamedTuple):
    """A network with its options, on images of side x side.

    Attributes:
        precision: float32 or bfloat16.
    """

    network: str
    side: int
    precision: str = "float32"
    options: Mapping[str, Any] = MappingProxyType({})


_CASES = (
    Case("minivggnet", 32),
    Case("minivggnet", 32, "bfloat16"),
    Case("minigooglenet", 32),
    Case("minigooglenet", 32, "bfloat16"),
    Case("resnet", 32),
    Case("resnet", 32, "bfloat16"),
    Case("resnet", 32, options={"filters": [16, 16, 32, 64]}),
    Case("deepergooglenet", 64),
    Case("alexnet", 227),
)
_BATCH, _CLASSES, _STEPS, _REPEATS = 64, 10, 5, 7


def main(cases: Iterable[Case], steps: int, repeats: int) -> None:
    """Measure, and print a table with a row per case.

    Args:
        cases: what to train.
        steps: batches of a measurement.
        repeats: measurements of each way; the median counts.
    """
    rows = []
    for case in cases:
        try:
            ways = {way: _training(case, way, steps) for way in ("ours", "keras", "bound")}
        except LearnerError as error:
            print(f"{case.network} is left out: {error}", flush=True)
            continue
        for compute in ways.values():
            compute()  # compiles
        speeds = rates(repeats, ways)
        ours, keras, bound = (speeds[way] for way in ("ours", "keras", "bound"))
        figures = (f"{keras:.0f}", f"{ours:.0f}", f"{ours / keras:.2f}", f"{bound:.0f}")
        options = ", ".join(f"`{key}: {value}`" for key, value in case.options.items())
        rows.append((f"`{case.network}`", options, f"{case.side}²", case.precision, *figures))
        print(f"{' '.join(rows[-1][:4])}: {ours / keras:.2f} times as fast as Keras' own", flush=True)
    header = (
        "network",
        "options",
        "images",
        "precision",
        "images/s",
        "fused",
        "",
        "without batch normalization",
    )
    print(f"\n{markdown(header, rows)}")


def _training(case: Case, way: str, steps: int) -> Callable[[], int]:
    """Trains steps on random images, and returns how many images those were."""
    import_keras()
    import keras

    from stages.models import networks
    from stages.models.training import computing, normalization

    shape = (case.side, case.side, 3)
    chosen = networks.options(case.network)(**case.options)
    with computing.precision(case.precision):
        model = networks.build(case.network, shape, _CLASSES, statistics=None, chosen=chosen)
    if way == "bound":
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.call, layer.trainable = _identity, False
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    if way == "ours":
        normalization.fuse(model)
    random = np.random.default_rng(0)
    images = random.random((_BATCH, *shape), dtype=np.float32)
    labels = random.integers(0, _CLASSES, _BATCH)

    def train() -> int:
        for _ in range(steps):
            model.train_on_batch(images, labels)
        return steps * _BATCH

    return train


def _identity(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    return inputs


if __name__ == "__main__":
    main(_CASES, _STEPS, _REPEATS)
