"""Extraction and prediction, in images per second, beside the bare forward pass on the same batches.

Ours read the packed file, check it, prepare the batches and write the results; the bound is
`predict_on_batch` one batch after the other on arrays that are in memory, of the network as it is (batches
already prepared, float32) and of the network with its preprocessing inside (uint8), which is what runs in
our way. Loading the network is not timed.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from benchmarks import harness, images
from benchmarks.harness import Row, Settings, Ways
from stages.common.executor import Executor
from stages.data import portions
from stages.data.store import Reader
from stages.extract import Extraction
from stages.models import extractors, networks
from stages.models.extractors import keras_applications
from stages.models.learners import cnn
from stages.models.protocols import Extract
from stages.predict import write_probabilities

_SIDE, _ALPHA = 224, 0.35
_CLASSES = 10


def measure(settings: Settings) -> list[Row]:
    """MobileNetV2's features of photographs, and LeNet's probabilities of digits."""
    return [*_extraction(settings), *_prediction(settings)]


def _extraction(settings: Settings) -> list[Row]:
    # Random weights: the arithmetic is the same.
    network = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(_SIDE, _SIDE, 3), pooling="avg", alpha=_ALPHA
    )
    weights = settings.work / "mobilenet.weights.h5"
    network.save_weights(weights)
    params = keras_applications.Params(
        kind="keras_applications", backbone="MobileNetV2", weights=str(weights), options={"alpha": _ALPHA}
    )
    pixels = keras.Input((_SIDE, _SIDE, 3), dtype="uint8")
    prepare = keras.applications.mobilenet_v2.preprocess_input
    inside = keras.Model(pixels, network(prepare(keras.ops.cast(pixels, "float32"))))
    features, photographs = settings.work / "features.h5", settings.work / "photographs.h5"
    with Reader(
        images.packed_noise(photographs, (settings.count(1_024, 64), *network.input_shape[1:]))
    ) as rows:
        batches = _batches(rows)
        run = extractors.prepare(params, rows.shape[1:])
        ways: Ways = {
            "ours": partial(_extract, rows, run, features),
            "float32": partial(_forward, network, [prepare(batch.astype(np.float32)) for batch in batches]),
            "uint8": partial(_forward, inside, batches),
        }
        harness.rates(1, ways)  # networks are compiled for each batch size when they first see it
        measured = harness.rates(settings.repeats, ways)
    work = f"extraction, MobileNetV2 {_ALPHA}, {_SIDE}²"
    return [
        Row(f"{work}, vs batches that are prepared", "images/s", measured["ours"], bound=measured["float32"]),
        Row(f"{work}, vs batches of uint8", "images/s", measured["ours"], bound=measured["uint8"]),
    ]


def _extract(rows: Reader, run: Extract, features: Path) -> int:
    Extraction(rows, run, None, Executor()).write(features, {})
    return len(rows)


def _prediction(settings: Settings) -> list[Row]:
    network = networks.build("lenet", shape=(28, 28, 1), classes=_CLASSES, statistics=None)
    learner = cnn.Network(network, None)
    probabilities, digits = settings.work / "probabilities.h5", settings.work / "digits.h5"
    with Reader(images.packed_noise(digits, (settings.count(20_000, 512), 28, 28, 1))) as rows:
        ways: Ways = {
            "ours": lambda: write_probabilities(probabilities, rows, learner.predict_proba, "lenet"),
            "bound": partial(_forward, network, _batches(rows)),
        }
        harness.rates(1, ways)  # networks are compiled for each batch size when they first see it
        measured = harness.rates(settings.repeats, ways)
    return [Row("prediction, LeNet, 28²", "images/s", measured["ours"], bound=measured["bound"])]


def _batches(rows: Reader) -> list[NDArray[np.uint8]]:
    return list(rows.batches(portions.size(rows.shape)))


def _forward(network: keras.Model, batches: Sequence[NDArray[Any]]) -> int:
    for batch in batches:
        network.predict_on_batch(batch)
    return sum(map(len, batches))


if __name__ == "__main__":
    harness.main(measure)
