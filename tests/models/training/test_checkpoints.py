"""A killed training goes on; what is on the disk is whole."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient

from stages import params
from stages.common.errors import TRANSIENT, LearnerError, LockedError, exit_status
from stages.common.files import read_json, remove, write_json
from stages.models import learners
from stages.models.protocols import Resumable
from stages.models.training import array_files, checkpoints
from stages.models.training.checkpoints import Progress, State
from stages.train import train
from tests import networks
from tests.data.test_transient_errors import no_descriptors
from tests.networks import everything_with_a_state, optimizer
from tests.paths import ROOT

HISTORY = {"epoch": [1.0, 2.0], "val_loss": [0.5, 0.25]}


def start(folder: Path, packed: Path, checkpoint_folder: str = "kept") -> subprocess.Popen[str]:
    """`python -m stages.train net`, whose log comes as lines on stderr."""
    words = ["--params", folder / "params.yaml", "--data", packed, "--model", folder / "models" / "net"]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        checkpoints.VARIABLE: str(folder / checkpoint_folder),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "stages.train", "net", *map(str, words)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(
    tracked: Path, packed: Any, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(everything_with_a_state()), encoding="utf-8")
    folder = tmp_path / "models" / "net"

    killed = start(tmp_path, packed.packed)
    assert killed.stderr is not None
    for line in killed.stderr:
        if "number=5/" in line:
            killed.send_signal(signal.SIGKILL)
            break
    assert killed.wait() == -signal.SIGKILL
    (attempt,) = (tmp_path / "kept").iterdir()
    run_id = read_json(attempt / "run.json")["run_id"]
    assert {"last.npz", "history.json", "learning_curves.png"} <= {path.name for path in attempt.iterdir()}
    assert not folder.exists()
    seconds = read_json(attempt / "cost.json")["fit_seconds"]
    # As if the signal had come while a file was written.
    (attempt / "checkpoints" / ".epoch-003-val_loss-9.9999.npz.part").write_bytes(b"")

    stopped = start(tmp_path, packed.packed)
    assert stopped.stderr is not None
    for line in stopped.stderr:
        if "event=resumed" in line:
            assert "epoch=4 batch=0 phase=1" in line
            stopped.send_signal(signal.SIGTERM)
            break
    log = stopped.stderr.read()
    assert stopped.wait() == 75, log
    assert "SIGTERM stopped the training after 4 epochs" in log
    assert read_json(attempt / "cost.json")["fit_seconds"] > seconds > 0

    again = start(tmp_path, packed.packed)
    log = again.communicate()[1]
    assert again.returncode == 0, log
    assert "event=resumed_training epoch=4 batch=" in log
    assert "number=4/" not in log
    resumed, history = weights(folder), read_json(folder / "history.json")
    assert read_json(folder / "run.json")["run_id"] == run_id
    assert {"learning_curves.png"} <= {path.name for path in folder.iterdir()}
    of_epochs = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert [name[:9] for name in of_epochs] == ["epoch-003", "epoch-006"]
    assert MlflowClient().get_run(run_id).info.status == "FINISHED"
    logged = MlflowClient().get_metric_history(run_id, "val_loss")
    assert {metric.step: metric.value for metric in logged} == dict(enumerate(history["val_loss"], start=1))

    # A worker that was killed before DVC took the outputs: nothing is trained twice.
    remove(folder)
    once_more = start(tmp_path, packed.packed)
    log = once_more.communicate()[1]
    assert once_more.returncode == 0, log
    assert "event=finished_epoch" not in log
    assert read_json(folder / "run.json")["run_id"] == run_id
    assert read_json(folder / "history.json") == history
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == of_epochs

    undisturbed = start(tmp_path, packed.packed, checkpoint_folder="elsewhere")
    assert undisturbed.wait() == 0
    assert read_json(folder / "run.json")["run_id"] != run_id
    for name, values in read_json(folder / "history.json").items():
        assert name in {"images_per_second", "data_wait_share"} or values == history[name]
    for array, other in zip(weights(folder), resumed, strict=True):
        np.testing.assert_array_equal(array, other)


def weights(folder: Path) -> list[Any]:
    network: Any = learners.load(folder)
    return list(network._model.get_weights())


def test_networks_resume_and_classifiers_start_over() -> None:
    models = params.load(ROOT / "params.yaml").models
    assert isinstance(learners.create(models["lenet"]), Resumable)
    assert not isinstance(learners.create(models["hog_logistic"]), Resumable)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".checkpoints"


def test_a_failed_training_keeps_its_folder_and_a_finished_one_does_not(places: Path) -> None:
    with suppress(ZeroDivisionError), checkpoints.reserved("net", {"epochs": 3}) as folder:
        (folder / "there").touch()
        _ = 1 / 0
    with checkpoints.reserved("net", {"epochs": 3}) as again:
        assert again == folder
        assert (again / "there").exists()
        with checkpoints.reserved("net", {"epochs": 4}) as other:
            assert other != folder
    assert list(places.iterdir()) == []


def test_a_checkpoint_of_other_code_is_not_used_and_the_log_says_so(
    places: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = {"params": {"epochs": 3}, "code": {"loop.py": "1"}}
    with suppress(ZeroDivisionError), checkpoints.reserved("net", before):
        _ = 1 / 0
    with (
        caplog.at_level(logging.INFO, logger="convoy"),
        checkpoints.reserved("net", before | {"code": {"loop.py": "2"}}) as folder,
    ):
        assert checkpoints.read(folder) is None
    (line,) = caplog.records
    assert line.getMessage() == "ignored_checkpoint"
    assert line.fields["reason"] == "another code"  # type: ignore[attr-defined]


def test_a_folder_that_the_environment_names_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(checkpoints.VARIABLE, str(tmp_path))
    with checkpoints.reserved("net", {"epochs": 3}) as folder:
        pass
    assert folder.parent == tmp_path
    assert folder.exists()


def test_the_same_training_runs_once_at_a_time(places: Path) -> None:
    with (
        checkpoints.reserved("net", {}),
        pytest.raises(LockedError, match="another process is training the same member"),
        checkpoints.reserved("net", {}),
    ):
        pass


def test_a_written_state_is_read_and_one_best_file_remains(tmp_path: Path) -> None:
    assert checkpoints.read(tmp_path) is None
    first = [np.arange(3, dtype=np.float32), np.array(7)]
    checkpoints.write(tmp_path, State(Progress(1, False, 1, HISTORY), first, [], [np.zeros(2)]))
    second = Progress(2, False, 2, HISTORY, batch=3, logs={"loss": 0.5})
    sums = [np.array(3.5), np.array(2.0)]
    checkpoints.write(tmp_path, State(second, [array + 1 for array in first], sums, [np.ones(2)]))
    state = checkpoints.read(tmp_path)
    assert state is not None
    assert state.progress == second
    assert [array.tolist() for array in state.variables] == [[1.0, 2.0, 3.0], 8]
    assert [array.tolist() for array in state.metrics] == [3.5, 2.0]
    assert state.best is not None
    assert state.best[0].tolist() == [1.0, 1.0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best-2.npz", "last.npz"]


def test_an_interrupted_write_leaves_the_checkpoint_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.write(tmp_path, State(Progress(1, False, 1, HISTORY), [np.zeros(2)], [], [np.zeros(2)]))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.write(tmp_path, State(Progress(1, False, 2, HISTORY), [np.ones(2)], [], [np.ones(2)]))
    state = checkpoints.read(tmp_path)
    assert state is not None
    assert state.progress.best == 1
    assert state.variables[0].tolist() == [0.0, 0.0]


def state_of(value: float, best: int | None = 2) -> State:
    weights = None if best is None else [np.array([value])]
    return State(Progress(1, False, best, HISTORY), [np.array([value])], [], weights)


def directory_byte(content: bytes, place: int, value: int) -> bytes:
    """Change a byte of the first entry in a ZIP file's central directory."""
    start = content.index(b"PK\x01\x02") + place
    return content[:start] + bytes([value]) + content[start + 1 :]


@pytest.mark.parametrize("name", ["last.npz", "best-2.npz"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda content: content[:99],
        lambda content: bytes(len(content)),
        lambda content: directory_byte(content, 6, 109),
        lambda content: directory_byte(content, 8, 1),
        lambda content: directory_byte(content, 10, 8),
    ],
    ids=["empty", "cut off", "zeros", "unknown version", "encrypted", "deflated"],
)
def test_a_checkpoint_that_cannot_be_read_leaves_nothing_to_the_next_one(
    name: str, damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    checkpoints.write(tmp_path, state_of(1.0))
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    assert checkpoints.read(tmp_path) is None
    checkpoints.write(tmp_path, state_of(2.0))
    state = checkpoints.read(tmp_path)
    assert state is not None
    assert state.best is not None
    assert [array.item() for array in state.variables + state.best] == [2.0, 2.0]


def test_a_checkpoint_that_a_process_may_not_open_now_stays(tmp_path: Path) -> None:
    """The error was taken for damage, and hours of training were removed."""
    checkpoints.write(tmp_path, state_of(1.0))
    with no_descriptors(), pytest.raises(OSError, match="Too many open files") as stop:
        checkpoints.read(tmp_path)
    assert exit_status(stop.value) == TRANSIENT
    assert checkpoints.read(tmp_path) is not None


def test_best_weights_are_those_of_the_state_that_names_them(tmp_path: Path) -> None:
    """Not those of another network, or of an attempt that was killed before it wrote its state."""
    checkpoints.write(tmp_path, state_of(1.0))
    state = checkpoints.read(tmp_path)
    assert state is not None
    assert not checkpoints.fits(state, [(7,)], tmp_path)
    checkpoints.write(tmp_path, state_of(2.0, best=1))
    array_files.write(tmp_path / "best-2.npz", best=[np.array([3.0])])
    checkpoints.read(tmp_path)
    checkpoints.write(tmp_path, state_of(4.0))
    state = checkpoints.read(tmp_path)
    assert state is not None
    assert state.best is not None
    assert state.best[0].item() == 4.0


@pytest.mark.slow
def test_files_of_zeros_do_not_stop_the_next_attempt(
    tracked: Path, packed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut leaves them."""
    monkeypatch.setenv(checkpoints.VARIABLE, str(tmp_path))
    chosen, folder = networks.params(train={"epochs": 1}), tracked / "models" / "net"
    train("net", params=chosen, recipe="tiny", data=packed.packed, model=folder)
    remove(folder)
    for name in ("identity.json", "run.json", "last.npz", "history.json"):
        (path,) = tmp_path.glob(f"net-*/{name}")
        path.write_bytes(bytes(path.stat().st_size))
    train("net", params=chosen, recipe="tiny", data=packed.packed, model=folder)
    assert read_json(folder / "history.json")["epoch"] == [1]


@pytest.mark.slow
def test_a_resumed_training_has_the_cost_of_all_attempts(
    tracked: Path, packed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had the last attempt's time and memory."""
    monkeypatch.setenv(checkpoints.VARIABLE, str(tmp_path))
    folder = tracked / "models" / "net"

    def metrics() -> dict[str, float]:
        remove(folder)
        train("net", params=networks.params(), recipe="tiny", data=packed.packed, model=folder)
        return MlflowClient().get_run(read_json(folder / "run.json")["run_id"]).data.metrics

    first = metrics()
    second = metrics()
    assert second["fit_seconds"] > first["fit_seconds"]
    (path,) = tmp_path.glob("net-*/cost.json")
    write_json(path, {"fit_seconds": 1000.0, "fit_peak_memory_mib": 1e6})
    third = metrics()
    assert third["fit_seconds"] > 1000
    assert third["fit_peak_memory_mib"] == 1e6
    path.write_bytes(bytes(path.stat().st_size))
    assert 0 < metrics()["fit_seconds"] < 1000, "a power cut leaves zeros"


@pytest.mark.slow
def test_the_curves_of_a_training_that_fails_are_logged(
    tracked: Path, packed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(checkpoints.VARIABLE, str(tmp_path))
    segments = [{"until_epoch": 2, "learning_rate": 0.01}, {"until_epoch": 3, "learning_rate": 1e30}]
    wild = optimizer("sgd", schedule={"kind": "segments", "segments": segments})
    folder = tracked / "models" / "wild"
    with pytest.raises(LearnerError, match="in epoch 3, step"):
        train("wild", params=networks.params(optimizer=wild), recipe="wild", data=packed.packed, model=folder)
    experiment = MlflowClient().get_experiment_by_name("wild")
    (run,) = MlflowClient().search_runs([experiment.experiment_id], "tags.member = 'wild'")
    assert run.info.status == "FAILED"
    logged = {artifact.path for artifact in MlflowClient().list_artifacts(run.info.run_id)}
    assert {"learning_curves.png", "history.json"} <= logged
