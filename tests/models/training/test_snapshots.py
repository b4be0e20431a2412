"""Snapshot ensembles: the average of the networks at the ends of the cycles, from one training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from stages.data.store import Reader
from stages.models.learners import cnn
from stages.models.training import epoch_checkpoints, snapshots
from tests.networks import defaults, fitted, optimizer, params

CYCLES = {"kind": "cosine", "cycles": 2}
CHOSEN: dict[str, Any] = {
    "optimizer": optimizer("sgd", schedule=CYCLES),
    "train": {"epochs": 4, "keep": "snapshots"},
}


def images(packed: Any) -> Any:
    with Reader(packed.packed / "val.h5") as val:
        return val.read(0, len(val))


def test_probabilities_are_the_mean_of_the_ends_of_cycles(packed: Any, tmp_path: Path) -> None:
    network = cnn.create(params(**CHOSEN))
    network.checkpoints = tmp_path
    with Reader(packed.packed / "train.h5") as train, Reader(packed.packed / "val.h5") as val:
        network.fit(train, val, lambda *_: None)
    files = sorted((tmp_path / snapshots.FOLDER).iterdir())
    assert [file.name[:9] for file in files] == ["epoch-002", "epoch-004"]
    single = cnn.create(params())
    with Reader(packed.packed / "train.h5") as train:
        single._build(params(), train)
    assert single._model is not None
    parts = []
    for file in files:
        single._model.set_weights(epoch_checkpoints.read(file).model)
        parts.append(single.predict_proba(images(packed)))
    assert not np.allclose(parts[0], parts[1])
    np.testing.assert_allclose(network.predict_proba(images(packed)), np.mean(parts, axis=0), atol=1e-6)


def test_the_average_is_saved_as_one_network_and_needs_no_folder(packed: Any, tmp_path: Path) -> None:
    network, history, _ = fitted(packed.packed, **CHOSEN)
    assert history["epoch"] == [1, 2, 3, 4]
    network.save(tmp_path)
    loaded = cnn.load(tmp_path)
    np.testing.assert_allclose(
        loaded.predict_proba(images(packed)), network.predict_proba(images(packed)), atol=1e-6
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": optimizer("sgd", schedule="cosine")},
        {"train": {"epochs": 5, "keep": "snapshots"}},
        {"train": {"epochs": 4, "keep": "snapshots", "early_stopping": {"patience": 1, "min_delta": 0.0}}},
        {"optimizer": optimizer("sgd", schedule=CYCLES, ema_momentum=0.9)},
    ],
    ids=["one cycle", "cycles that do not divide", "early stopping", "averaged weights"],
)
def test_params_that_have_no_ends_of_cycles_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(
        ValidationError, match="keep: snapshots needs a cosine schedule with at least 2 cycles"
    ):
        params(**CHOSEN | changes)


def test_two_phases_have_no_snapshots() -> None:
    from stages.models.learners import fine_tuning

    values = defaults("fine_tuning")
    with pytest.raises(ValidationError, match="allowed in two phases: last, best"):
        fine_tuning.Params.model_validate(values | {"train": values["train"] | {"keep": "snapshots"}})
