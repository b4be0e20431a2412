"""A network learns what can be learnt, the same way twice, and says when it does not."""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.common.errors import LearnerError
from stages.common.files import write_json
from stages.data.store import Reader
from stages.models import learners
from stages.models.learners import cnn
from tests.networks import fitted, optimizer, params

CURVES = {
    "epoch",
    "phase",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "images_per_second",
    "data_wait_share",
}


def weights(network: cnn.Network) -> list[np.ndarray]:
    assert network._model is not None
    return [np.asarray(array) for array in network._model.get_weights()]


def test_a_separable_set_is_learnt_the_same_way_twice(packed: Any) -> None:
    first, history, reported = fitted(packed.packed)
    assert history["val_accuracy"][-1] == 1.0
    assert history["loss"][-1] < history["loss"][0]
    assert reported == [1, 2, 3]
    assert history["epoch"] == [1.0, 2.0, 3.0]
    assert set(history) == CURVES
    assert {len(series) for series in history.values()} == {3}

    again, _, _ = fitted(packed.packed)
    for array, other in zip(weights(first), weights(again), strict=True):
        np.testing.assert_array_equal(array, other)

    other_seed, _, _ = fitted(packed.packed, train={"epochs": 1, "seed": 2})
    assert not np.array_equal(weights(first)[0], weights(other_seed)[0])


def test_another_optimizer_and_normalization_train(packed: Any) -> None:
    adam = optimizer("adam", learning_rate=0.001, schedule="cosine")
    _, history, _ = fitted(packed.packed, optimizer=adam, normalize="scale")
    # From the full rate to nothing behind the last step; each epoch's rate is that of its last step of five.
    rates = [0.0005 * (1 + math.cos(math.pi * step / 15)) for step in (4, 9, 14)]
    assert history["learning_rate"] == pytest.approx(rates, rel=1e-5)


def test_a_loss_that_is_no_number_stops_the_training_and_names_the_step(packed: Any) -> None:
    wild = optimizer("sgd", learning_rate=1e30)
    with pytest.raises(LearnerError, match=r"the loss became (nan|inf) in epoch 1, step \d; lower optimizer"):
        fitted(packed.packed, optimizer=wild)


def test_a_folder_without_a_model_is_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(LearnerError, match="holds no model of this version"):
        learners.load(tmp_path)
    write_json(tmp_path / "spec.json", {"kind": "cnn"})
    (tmp_path / "model.keras").write_bytes(b"no zip file")
    with pytest.raises(LearnerError, match="holds no model of this version"):
        learners.load(tmp_path)
    write_json(tmp_path / "spec.json", {"kind": "forest"})
    with pytest.raises(LearnerError, match="holds no model of this version"):
        learners.load(tmp_path)


@pytest.mark.parametrize(
    ("place", "value"), [(6, 109), (8, 1), (10, 8)], ids=["version", "flags", "compression"]
)
def test_a_network_with_a_damaged_directory_is_no_traceback(tmp_path: Path, place: int, value: int) -> None:
    """Bytes of entries in the central directory of the ZIP file. zipfile raises RuntimeError for two."""
    import keras

    keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    content = bytearray((tmp_path / "model.keras").read_bytes())
    start = content.index(b"PK\x01\x02")
    while start >= 0:
        content[start + place] = value
        start = content.find(b"PK\x01\x02", start + 1)
    (tmp_path / "model.keras").write_bytes(content)
    write_json(tmp_path / "spec.json", {"kind": "cnn"})
    with pytest.raises(LearnerError, match=r"holds no model of this version.*; run train again") as caught:
        learners.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_saved_network_has_no_optimizer_and_is_a_third_of_its_size(packed: Any, tmp_path: Path) -> None:
    network, _, _ = fitted(packed.packed, optimizer=optimizer("adam"), train={"epochs": 1})
    assert network._model is not None
    network._model.save(tmp_path / "compiled.keras")
    network.save(tmp_path)
    saved, compiled = tmp_path / "model.keras", tmp_path / "compiled.keras"
    assert compiled.stat().st_size > 2.5 * saved.stat().st_size
    with zipfile.ZipFile(saved) as archive, archive.open("model.weights.h5") as weights:
        assert b"optimizer" not in weights.read()
    loaded = cnn.load(tmp_path)
    with Reader(packed.packed / "val.h5") as val:
        images = val.read(0, len(val))
    np.testing.assert_array_equal(loaded.predict_proba(images), network.predict_proba(images))


def test_the_layers_are_drawn_before_the_first_epoch(packed: Any, tmp_path: Path) -> None:
    """Starter Bundle ch. 19: a wrong network shows in its layers, before it costs an hour."""
    network = cnn.create(params(train={"epochs": 1}))
    order: list[str] = []
    network.on_built = lambda built: order.extend(path.name for path in built.describe(tmp_path))
    with Reader(packed.packed / "train.h5") as train, Reader(packed.packed / "val.h5") as val:
        network.fit(train, val, lambda number, values: order.append(f"epoch {number}"))
    assert order[0] == "architecture.txt"
    assert order[-1] == "epoch 1"
    assert "conv2d" in (tmp_path / "architecture.txt").read_text(encoding="utf-8")
