"""Checkpoints of epochs: which are kept, under which names, and what a killed training leaves of them."""

from pathlib import Path
from typing import Any

import pytest

from stages.common.history import CHECKPOINTS, History
from stages.data.store import Reader
from stages.models.learners import cnn
from stages.models.training import epoch_checkpoints
from tests.networks import params


def trained(packed: Any, folder: Path, on_epoch: Any = lambda *_: None, **train: Any) -> History:
    network = cnn.create(params(train=train))
    network.checkpoints = folder
    with Reader(packed.packed / "train.h5") as rows, Reader(packed.packed / "val.h5") as val:
        return network.fit(rows, val, on_epoch)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / CHECKPOINTS).glob("*"))


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_epochs_that_improve_are_kept_by_epoch_and_value(packed: Any, tmp_path: Path, monitor: str) -> None:
    """Starter Bundle ch. 18: weights-{epoch}-{val_loss} of each improvement."""
    history = trained(packed, tmp_path, epochs=5, save_epochs="improving", monitor=monitor)
    values, expected = history[monitor], []
    for number, value in enumerate(values):
        before = values[:number]
        if not before or (value < min(before) if monitor == "val_loss" else value > max(before)):
            expected.append(f"epoch-{number + 1:03d}-{monitor}-{value:.4f}.npz")
    assert names(tmp_path) == expected
    last = epoch_checkpoints.read(tmp_path / CHECKPOINTS / expected[-1])
    assert last.history["epoch"] == history["epoch"][: len(last.history["epoch"])]


def test_every_so_many_epochs_are_kept(packed: Any, tmp_path: Path) -> None:
    trained(packed, tmp_path, epochs=5, save_epochs=2)
    assert [name[:9] for name in names(tmp_path)] == ["epoch-002", "epoch-004"]


def test_without_the_setting_none_is_kept(packed: Any, tmp_path: Path) -> None:
    trained(packed, tmp_path, epochs=1)
    assert names(tmp_path) == []


def test_a_resumed_training_keeps_what_an_undisturbed_one_keeps(packed: Any, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill(number: int, values: dict[str, float]) -> None:
        if number == 3:
            raise KilledError

    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    settings: dict[str, Any] = {"epochs": 4, "save_epochs": 1, "checkpoint_every": 2}
    trained(packed, undisturbed, **settings)
    with pytest.raises(KilledError):
        trained(packed, tmp_path, kill, **settings)
    # Of an epoch that the killed attempt had trained after its last checkpoint.
    (tmp_path / CHECKPOINTS / "epoch-003-val_loss-9.9999.npz").write_bytes(b"")
    trained(packed, tmp_path, **settings)
    assert names(tmp_path) == names(undisturbed)
