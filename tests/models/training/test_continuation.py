"""A finished training goes on with other params: its weights, and both halves of the history."""

import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from stages.common.errors import LearnerError, ParamsError
from stages.common.files import digest, write_json
from stages.common.history import CHECKPOINTS, History, OnEpoch
from stages.data.store import Reader
from stages.models.learners import cnn
from stages.models.training import checkpoints
from tests.networks import fitted, optimizer, params

pytestmark = pytest.mark.slow

PLAIN: dict[str, Any] = {"momentum": 0.0, "nesterov": False}


@pytest.fixture(scope="module")
def finished(packed: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, History]:
    """A copy of a member that was trained for two epochs without momentum, and its history."""
    folder = tmp_path_factory.mktemp("finished")
    network, history, _ = fitted(packed.packed, optimizer=optimizer("sgd", **PLAIN), train={"epochs": 2})
    network.save(folder)
    write_json(folder / "history.json", history)
    return folder, history


def train_with_checkpoints(
    packed: Any, folder: Path, on_epoch: OnEpoch = lambda *_: None, **changes: Any
) -> History:
    """Train with a folder for checkpoints, as the stage does."""
    network = cnn.create(params(**changes))
    network.checkpoints = folder
    with Reader(packed.packed / "train.h5") as train, Reader(packed.packed / "val.h5") as val:
        return network.fit(train, val, on_epoch)


def values_of(network: cnn.Network) -> list[np.ndarray]:
    assert network._model is not None
    return [np.asarray(array) for array in network._model.get_weights()]


def test_two_epochs_and_one_more_are_three_epochs(packed: Any, finished: tuple[Path, History]) -> None:
    """Without momentum and with a constant rate nothing is lost: not the order of the images either."""
    folder, first = finished
    uninterrupted, expected, _ = fitted(
        packed.packed, optimizer=optimizer("sgd", **PLAIN), train={"epochs": 3}
    )
    origin = {"member": str(folder), "sha256": digest(folder / "model.keras")}
    network, history, reported = fitted(
        packed.packed, optimizer=optimizer("sgd", **PLAIN), start_from=origin, train={"epochs": 1}
    )
    assert reported == [1, 2, 3]
    assert history["epoch"] == [1, 2, 3]
    assert history["phase"] == [0, 0, 1]
    assert history["val_loss"][:2] == first["val_loss"]
    for name in ("loss", "val_loss", "val_accuracy"):
        assert history[name] == pytest.approx(expected[name], rel=1e-6)
    for array, other in zip(values_of(network), values_of(uninterrupted), strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "chosen", [optimizer("sgd"), optimizer("adam")], ids=lambda chosen: str(chosen["kind"])
)
def test_a_checkpoint_and_another_rate_are_segments(
    packed: Any, tmp_path: Path, chosen: dict[str, Any]
) -> None:
    """The "ctrl+c" method of Practitioner Bundle ch. 11: stop after two epochs, lower the rate, go on."""
    rates = [{"until_epoch": 2, "learning_rate": 0.01}, {"until_epoch": 4, "learning_rate": 0.001}]
    high, low = (chosen | {"learning_rate": rate["learning_rate"], "schedule": "constant"} for rate in rates)
    uninterrupted, expected, _ = fitted(
        packed.packed,
        optimizer=high | {"schedule": {"kind": "segments", "segments": rates}},
        train={"epochs": 4, "deterministic": True},
    )
    train_with_checkpoints(
        packed, tmp_path, optimizer=high, train={"epochs": 3, "save_epochs": 2, "deterministic": True}
    )
    (file,) = (tmp_path / CHECKPOINTS).iterdir()
    assert re.fullmatch(r"epoch-002-val_loss-\d\.\d{4}\.npz", file.name)
    network, history, reported = fitted(
        packed.packed,
        optimizer=low,
        start_from={"checkpoint": str(file), "sha256": digest(file)},
        train={"epochs": 2, "deterministic": True},
    )
    assert reported == history["epoch"] == [1, 2, 3, 4]
    assert history["phase"] == [0, 0, 1, 1]
    assert history["loss"] == expected["loss"]
    assert history["val_loss"] == expected["val_loss"]
    for array, other in zip(values_of(network), values_of(uninterrupted), strict=True):
        np.testing.assert_array_equal(array, other)


def test_a_schedule_begins_with_the_continuation_and_adam_goes_on(packed: Any, tmp_path: Path) -> None:
    """Adam divides its moments by their share of all steps: as if there had been none, by too little."""
    # So low that the loss is not nothing after an epoch.
    rates = [
        {"until_epoch": epoch, "learning_rate": rate}
        for epoch, rate in enumerate([1e-4, 3e-5, 1e-5, 3e-6], 1)
    ]
    later = [rate | {"until_epoch": rate["until_epoch"] - 1} for rate in rates[1:]]
    chosen = [
        optimizer("adam", learning_rate=parts[0]["learning_rate"])
        | {"schedule": {"kind": "segments", "segments": parts}}
        for parts in (rates, later)
    ]
    uninterrupted = tmp_path / "uninterrupted"
    expected = train_with_checkpoints(
        packed,
        uninterrupted,
        optimizer=chosen[0],
        train={"epochs": 4, "save_epochs": 1, "deterministic": True},
    )
    file = next((uninterrupted / CHECKPOINTS).glob("epoch-001-*"))
    changes = {
        "optimizer": chosen[1],
        "start_from": {"checkpoint": str(file)},
        "train": {"epochs": 3, "deterministic": True},
    }
    _, history, _ = fitted(packed.packed, **changes)
    assert expected["loss"][-1] > 0
    for name in ("loss", "val_loss", "learning_rate"):
        assert history[name] == expected[name]

    def kill(number: int, values: dict[str, float]) -> None:
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_with_checkpoints(packed, tmp_path / "killed", kill, **changes)
    assert train_with_checkpoints(packed, tmp_path / "killed", **changes)["loss"] == expected["loss"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (optimizer("adam"), optimizer("sgd", **PLAIN)),
        (optimizer("sgd"), optimizer("rmsprop", momentum=0.0)),
        (optimizer("sgd"), optimizer("sgd", momentum=0.0, ema_momentum=0.9)),
    ],
    ids=["other shapes", "the shapes of another optimizer", "averages with the shapes of momentum"],
)
def test_the_state_of_another_optimizer_is_left_out(
    packed: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    first: dict[str, Any],
    second: dict[str, Any],
) -> None:
    """RMSprop divided by the root of SGD's momentum, and the loss was no number."""
    train_with_checkpoints(packed, tmp_path, optimizer=first, train={"epochs": 1, "save_epochs": 1})
    (file,) = (tmp_path / CHECKPOINTS).iterdir()
    with caplog.at_level(logging.INFO, logger="convoy"):
        _, history, _ = fitted(
            packed.packed,
            optimizer=second,
            start_from={"checkpoint": str(file)},
            train={"epochs": 1},
        )
    assert history["epoch"] == [1, 2]
    assert "started_optimizer_anew" in [line.getMessage() for line in caplog.records]


def test_a_file_that_is_no_checkpoint_is_refused(packed: Any, tmp_path: Path) -> None:
    file = tmp_path / "epoch-001-val_loss-0.1000.npz"
    with pytest.raises(
        ParamsError, match=r"start_from\.checkpoint: .* does not exist; name a file of models"
    ):
        fitted(packed.packed, start_from={"checkpoint": str(file)})
    file.write_bytes(b"nothing")
    with pytest.raises(LearnerError, match="is no checkpoint of an epoch"):
        fitted(packed.packed, start_from={"checkpoint": str(file)})


def test_one_origin_is_named_and_no_more() -> None:
    for origin in ({}, {"member": "a", "checkpoint": "b"}):
        with pytest.raises(ValidationError, match="must have either member or checkpoint"):
            params(start_from=origin)


def test_a_continuation_that_was_killed_resumes(
    packed: Any, finished: tuple[Path, History], tmp_path: Path
) -> None:
    origin = {"member": str(finished[0])}
    expected, curves, _ = fitted(packed.packed, start_from=origin, train={"epochs": 3})

    class KilledError(Exception):
        pass

    def kill(number: int, values: dict[str, float]) -> None:
        if number == 4:
            raise KilledError

    chosen = params(start_from=origin, train={"epochs": 3})
    for attempt in (kill, lambda *_: None):
        network = cnn.create(chosen)
        network.checkpoints = tmp_path
        with Reader(packed.packed / "train.h5") as train, Reader(packed.packed / "val.h5") as val:
            try:
                history = network.fit(train, val, attempt)
            except KilledError:
                state = checkpoints.read(tmp_path)
                assert state is not None
                assert state.progress.history["epoch"] == [1, 2, 3]
    assert history["epoch"] == [1, 2, 3, 4, 5]
    assert history["val_loss"] == curves["val_loss"]
    for array, other in zip(values_of(network), values_of(expected), strict=True):
        np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize("first", [False, True], ids=["from now on", "no longer"])
def test_a_history_has_the_series_that_all_epochs_have(first: bool, packed: Any, tmp_path: Path) -> None:
    folder, attempts = tmp_path / "finished", tmp_path / "attempts"
    folder.mkdir()
    network, history, _ = fitted(packed.packed, train={"epochs": 1, "top5_accuracy": first})
    network.save(folder)
    write_json(folder / "history.json", history)
    again = cnn.create(
        params(start_from={"member": str(folder)}, train={"epochs": 2, "top5_accuracy": not first})
    )
    again.checkpoints = attempts
    reported: dict[int, bool] = {}

    def killed(number: int, values: dict[str, float]) -> None:
        reported[number] = "val_top5_accuracy" in values
        if len(reported) == 3:
            reported.clear()
            raise KeyboardInterrupt

    with Reader(packed.packed / "train.h5") as train, Reader(packed.packed / "val.h5") as val:
        with pytest.raises(KeyboardInterrupt):
            again.fit(train, val, killed)
        history = again.fit(train, val, killed)
    assert history["epoch"] == [1, 2, 3]
    assert "val_top5_accuracy" not in history
    assert {len(series) for series in history.values()} == {3}
    assert reported == {1: first, 3: not first}


def test_a_member_of_another_network_is_refused(packed: Any, finished: tuple[Path, History]) -> None:
    other = {"network": "lenet", "code": "stages/models/networks/lenet.py"}
    with pytest.raises(LearnerError, match="has weights of other shapes than lenet"):
        fitted(packed.packed, start_from={"member": str(finished[0])}, **other)


def test_a_member_that_is_missing_or_changed_is_refused(
    packed: Any, finished: tuple[Path, History], tmp_path: Path
) -> None:
    with pytest.raises(
        ParamsError, match=r"model\.keras does not exist; name a folder that `train` has written"
    ):
        fitted(packed.packed, start_from={"member": str(tmp_path)})
    shutil.copytree(finished[0], tmp_path / "copy")
    with pytest.raises(ParamsError, match=r"has sha256 [0-9a-f]{64}; the params state 0{64}"):
        fitted(packed.packed, start_from={"member": str(tmp_path / "copy"), "sha256": "0" * 64})


@pytest.mark.parametrize("name", ["model.keras", "history.json"])
@pytest.mark.parametrize(
    "damage",
    [lambda _: b"<html>", lambda content: content[:-99], lambda content: bytes(len(content))],
    ids=["another file", "cut off", "zeros"],
)
def test_a_member_that_cannot_be_read_is_refused(
    name: str, damage: Callable[[bytes], bytes], packed: Any, finished: tuple[Path, History], tmp_path: Path
) -> None:
    file = shutil.copytree(finished[0], tmp_path / "copy") / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(LearnerError, match=r"start_from: .*copy holds no network that can be read"):
        fitted(packed.packed, start_from={"member": str(tmp_path / "copy")})


def test_a_folder_that_dvc_clears_is_refused_with_the_params() -> None:
    with pytest.raises(ValidationError, match="DVC clears models/; name a copy outside of it"):
        params(start_from={"member": "models/lenet"})
