"""One training on two devices and by two processes is that of one; a lost process loses nothing else.

These start `python` with Keras on JAX, whatever backend the other tests have. `make test-jax` runs them.
"""

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from mlflow import MlflowClient

from stages.common import launcher
from stages.common.files import read_json
from stages.common.ranks import RANK
from stages.models.training import checkpoints
from tests.networks import everything_with_a_state
from tests.paths import ROOT

needs_jax = pytest.mark.skipif(not find_spec("jax"), reason="JAX is not installed: make test-jax")
# The series of a history that are not of this machine's speed.
FIGURES = ("epoch", "phase", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
FIVE_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}
TWO_PROCESSES = {launcher.VARIABLE: "2"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Keras on JAX, which compiles once for all processes; no TensorFlow, which would take 6 s of each."""
    folder = tmp_path_factory.mktemp("jax")
    (folder / "tensorflow.py").write_text("raise ImportError('left out')")
    return os.environ | {
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": f"{ROOT}:{folder}",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


@pytest.mark.slow
@needs_jax
@pytest.mark.parametrize("case", ["lenet", "minivggnet", "fine_tuning"])
def test_two_devices_and_two_processes_train_as_one(
    case: str, environment: dict[str, str], packed: Any, tmp_path: Path
) -> None:
    """36 images in batches of 10: the last one has 6, and of the val split's 12 the last 2.

    Five devices do not divide these two, which are computed whole on each.
    """
    trained = {}
    places = {"one": {}, "devices": TWO_DEVICES, "processes": TWO_PROCESSES}
    for name, changes in (places | ({"five": FIVE_DEVICES} if case == "lenet" else {})).items():
        folder = tmp_path / name
        folder.mkdir()
        words = [sys.executable, "-m", "tests.models.training.train_alone", case, packed.packed, folder]
        done = subprocess.run(words, env=environment | changes, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert ("event=shared_batches" in done.stderr) == (name != "one")
        trained[name] = read_json(folder / "history.json"), np.load(folder / "weights.npz")
    expected, weights = trained["one"]
    for history, others in trained.values():
        for series in FIGURES:
            assert history[series] == pytest.approx(expected[series], abs=1e-5), series
        for name, array in weights.items():
            np.testing.assert_allclose(others[name], array, atol=1e-4)
    assert not [key for key in read_json(tmp_path / "devices" / "reported.json")[0] if "/" in key]
    for values in read_json(tmp_path / "processes" / "reported.json"):
        for rank in (0, 1):
            assert values[f"rank{rank}/step_ms"] > 0
            assert 0 < values[f"rank{rank}/collectives_share"] <= 1
            assert 0 <= values[f"rank{rank}/data_wait_share"] <= 1


def start(folder: Path, packed: Path, environment: dict[str, str], processes: int) -> "subprocess.Popen[str]":
    """`python -m stages.train net`, whose log comes as lines on stderr."""
    words = ["--params", folder / "params.yaml", "--data", packed, "--model", folder / "models" / "net"]
    return subprocess.Popen(
        [sys.executable, "-m", "stages.train", "net", *map(str, words)],
        env=environment | {launcher.VARIABLE: str(processes), checkpoints.VARIABLE: str(folder / "kept")},
        stderr=subprocess.PIPE,
        text=True,
    )


def until(process: "subprocess.Popen[str]", words: str) -> None:
    """Read the log to the line that has these words."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if words in line:
            return
    raise AssertionError("".join(seen))


def by_rank(process: "subprocess.Popen[str]") -> dict[int, psutil.Process]:
    children = psutil.Process(process.pid).children()
    return {int(child.environ()[RANK]): child for child in children}


@pytest.mark.slow
@needs_jax
def test_ranks_are_killed_and_the_training_resumes_with_other_numbers_of_ranks(
    environment: dict[str, str], tracked: Path, packed: Any, tmp_path: Path
) -> None:
    values = everything_with_a_state()
    lenet = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["models"]["lenet"]
    # Compiled in a third of MiniVGGNet's time.
    values["models"]["net"] |= {name: lenet[name] for name in ("network", "code", "options")}
    # Two ranks agree on the batch after which they stop, on a busy machine three epochs after SIGTERM.
    values["models"]["net"]["train"] |= {"checkpoint_every": 1, "epochs": 12}
    values["models"]["net"]["optimizer"]["learning_rate"] = 0.001
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    undisturbed = start(tmp_path, packed.packed, environment | {"CONVOY_DEBUG": "1"}, 1)
    log = undisturbed.communicate()[1]
    assert undisturbed.returncode == 0, log
    expected = read_json(tmp_path / "models" / "net" / "history.json")
    (folder,) = (tmp_path / "kept").iterdir()
    for path in [*folder.glob("*.npz"), *folder.glob("*/*.npz"), folder / "run.json"]:
        path.unlink()

    # 2 → 1 → 2 → 2 ranks. SIGTERM stops all ranks after the same batch, SIGKILL in the next one.
    logs = []
    for processes, rank, number in (
        (2, 1, signal.SIGKILL),
        (1, 0, signal.SIGTERM),
        (2, 1, signal.SIGTERM),
        (2, 0, signal.SIGKILL),
    ):
        training = start(tmp_path, packed.packed, environment, processes)
        until(training, "event=finished_epoch")
        members = by_rank(training) if processes == 2 else {0: psutil.Process(training.pid)}
        members[rank].send_signal(number)
        logs.append(training.communicate(timeout=120)[1])
        assert training.returncode == 75, logs[-1]
        _, alive = psutil.wait_procs(members.values(), timeout=10)
        assert alive == []
    assert "rank 1 was ended by SIGKILL; the same command resumes" in logs[0]
    assert "SIGTERM stopped the training after" in logs[2]
    assert "rank 0 was ended by SIGKILL" in logs[3]

    last = start(tmp_path, packed.packed, environment, 2)
    log = last.communicate()[1]
    assert last.returncode == 0, log
    assert "event=resumed_training rank=0" in log
    history = read_json(tmp_path / "models" / "net" / "history.json")
    for series in FIGURES:
        assert history[series] == pytest.approx(expected[series], abs=1e-5), series
    run = read_json(tmp_path / "models" / "net" / "run.json")["run_id"]
    assert MlflowClient().get_run(run).info.status == "FINISHED"
    steps = {measured.step for measured in MlflowClient().get_metric_history(run, "rank1/step_ms")}
    assert 12 in steps, "two ranks trained this epoch"
    assert set(range(1, 12)) - steps, "one process trained this epoch"
    # The undisturbed one, and one for all five attempts.
    experiment = MlflowClient().get_run(run).info.experiment_id
    assert len(MlflowClient().search_runs([experiment], "tags.stage = 'train@net'")) == 2


# Two logical devices of the CPU in the place of two GPUs.
MIRRORED = """
import sys
from pathlib import Path
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from stages.common import keras_import
keras_import.gpus = lambda: ["cpu:0", "cpu:1"]
from tests.models.training import train_alone
train_alone.main("lenet", Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_tensorflow_mirrors_a_network_on_all_gpus(packed: Any, tmp_path: Path) -> None:
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT)}
    histories = []
    for words in (["-m", "tests.models.training.train_alone", "lenet"], ["-c", MIRRORED]):
        folder = tmp_path / words[0]
        folder.mkdir()
        command = [sys.executable, *words, str(packed.packed), str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert ("by=tf.distribute.MirroredStrategy" in done.stderr) == (words[0] == "-c")
        histories.append(read_json(folder / "history.json"))
        weights = np.load(folder / "weights.npz")
        assert weights["predicted"].shape == (12, 3)
    for series in FIGURES:
        assert histories[1][series] == pytest.approx(histories[0][series], abs=1e-5), series
