"""Two containers train one network: by hand, one is cut off; by the docker runner, one is killed."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stages.common.files import read_json
from stages.common.ranks import Ranks
from tests.docker.conftest import ROOT, build, docker
from tests.pipelines import driven_ranks
from tests.pipelines.conftest import airflow_environment  # noqa: F401
from tests.pipelines.driven import Driven
from tests.pipelines.driven_ranks import TRAIN, Training
from tests.project import Project

pytestmark = pytest.mark.slow
# JAX ends a process when another one has sent nothing for 20 s.
SECONDS_TO_END = 60


@pytest.fixture(scope="module")
def jax_image(base_image: None) -> str:
    """Build the image with Keras on JAX, and return its name."""
    return build("train-jax", ROOT, "convoy/train-jax:test")


@dataclass(frozen=True)
class Host:
    """Where containers train: a folder that all see, packed images and a network."""

    image: str
    folder: Path
    packed: Path
    network: str

    def start(self, name: str, **environment: str) -> str:
        """Start `python -m stages.train` in a container; its name in the network is `name`."""
        variables = {
            "CONVOY_CHECKPOINTS": f"{self.folder}/checkpoints/{name[0]}",
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder}/mlflow.db",
            # Later attempts find what the first has compiled.
            "JAX_COMPILATION_CACHE_DIR": f"{self.folder}/compiled",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        } | environment
        container = f"{self.network}-{name}"
        docker("run", "--detach", "--name", container, "--network", self.network, "--network-alias", name,
               *(f"--env={key}={value}" for key, value in variables.items()),
               f"--volume={self.folder}:{self.folder}", f"--volume={self.packed}:{self.packed}:ro",
               f"--user={os.getuid()}:{os.getgid()}", self.image, "python", "-m", "stages.train", "lenet",
               "--params", f"{self.folder}/params.yaml", "--data", str(self.packed),
               "--model", f"{self.folder}/models/{name[0]}/lenet")  # fmt: skip
        return container

    def pair(self) -> list[str]:
        """Start two containers as ranks of one training."""
        ranks = [Ranks(rank, 2, "pair-0:4321") for rank in range(2)]
        return [self.start(f"pair-{place.rank}", **place.environment()) for place in ranks]

    def history(self, name: str) -> dict[str, Any]:
        history: dict[str, Any] = read_json(self.folder / "models" / name[0] / "lenet" / "history.json")
        return history


@pytest.fixture
def host(jax_image: str, packed: Project, tmp_path: Path) -> Iterator[Host]:
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    lenet = values["models"]["lenet"]
    lenet["train"] |= {"epochs": 60, "batch_size": 10, "checkpoint_every": 1, "deterministic": True}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    name = f"convoy-ranks-{os.getpid()}"
    docker("network", "create", name)
    try:
        yield Host(jax_image, tmp_path, packed.packed, name)
    finally:
        for container in docker("ps", "--all", "--quiet", "--filter", f"name={name}-").split():
            docker("rm", "--force", container)
        docker("network", "rm", name)


@contextmanager
def log_of(container: str) -> Iterator[Iterator[str]]:
    """The lines that a container logs, as they come."""
    with subprocess.Popen(
        ["docker", "logs", "--follow", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        yield iter(process.stdout)
        process.terminate()


def ended(container: str) -> int:
    """Wait for the container's end; its exit status."""
    with suppress(subprocess.TimeoutExpired):
        return int(docker("wait", container, timeout=120))
    raise AssertionError(f"{container} runs on: {docker('logs', '--tail', '20', container)}")


def test_a_container_is_cut_off_and_the_training_resumes_when_it_is_back(host: Host) -> None:
    alone = host.start("alone")
    assert ended(alone) == 0, docker("logs", alone)

    containers = host.pair()
    with log_of(containers[0]) as lines:
        assert any("number=2/" in line for line in lines)
    docker("network", "disconnect", "--force", host.network, containers[1])
    cut_off = time.monotonic()
    statuses = [ended(container) for container in containers]
    # 134: JAX aborts what has lost the others.
    assert set(statuses) <= {75, 134}, [docker("logs", "--tail", "20", name) for name in containers]
    assert time.monotonic() - cut_off < SECONDS_TO_END
    assert not (host.folder / "models" / "p" / "lenet").exists()

    docker("rm", *containers)
    containers = host.pair()
    with log_of(containers[0]) as lines:
        assert any("event=resumed_training" in line for line in lines), "from rank 0's checkpoint"
    assert [ended(container) for container in containers] == [0, 0], docker("logs", containers[0])
    for series in ("epoch", "loss", "val_loss", "accuracy"):
        expected = host.history("alone")[series]
        np.testing.assert_allclose(host.history("pair")[series], expected, atol=1e-5, err_msg=series)


@pytest.fixture
def driven(jax_image: str, airflow_environment: None, tmp_path: Path) -> Iterator[Driven]:  # noqa: F811
    """The docker runner on a clone of this project, with a network of its own."""
    driven = Driven("docker", driven_ranks.repository(tmp_path))
    name = f"convoy-ranks-{os.getpid()}"
    docker("network", "create", name)
    driven.config["docker_network"] = name
    try:
        yield driven
    finally:
        docker("network", "rm", name)


def test_nodes_of_a_task_are_containers_of_one_training(driven: Driven) -> None:
    database = driven.repository.shared / "mlflow.db"
    training = Training(driven, f"sqlite:///{database}")
    assert training("pack", nodes=1)[0]["outcome"] == "ran"

    killed, seconds, output = training.interrupted(lambda: ["docker", "kill", f"{driven.name(TRAIN)}.rank1"])
    assert killed["outcome"] == "failed", "which Airflow retries"
    assert killed["reason"].startswith("rank 1: killed (SIGKILL) from outside")
    assert seconds < driven_ranks.SECONDS_TO_END
    # Its clone is removed by the next try.
    assert docker("ps", "--all", "--quiet", "--filter", f"name={driven.name(TRAIN)}") == ""

    assert training.cancelled()["outcome"] == "stopped", "as a run that is cancelled in Airflow"
    assert driven.remains(TRAIN) == []

    pair, output = training()
    assert pair["outcome"] == "ran", output
    assert "event=resumed_training" in output, "from rank 0's checkpoint"
    assert "rank 1: Running stage 'train@lenet':" in output
    assert "does not exist" not in output, "that rank 1 writes nothing is no error"
    assert driven.remains(TRAIN) == []
    assert driven_ranks.runs_of_training(database) == 1
    assert training(TRAIN)[0]["outcome"] == "restored", "the number of ranks is no param"

    driven.config["docker_network"] = "host"
    forced = {"CONVOY_FORCED": f'["{TRAIN}"]'}
    on_host, output = training(CONVOY_RUN="host", **forced)
    assert on_host["outcome"] == "ran", output
    alone, _ = training(nodes=1, CONVOY_RUN="alone", **forced)
    assert alone["outcome"] == "ran"
    expected = training.history(alone)
    driven_ranks.assert_same_losses(training.history(pair), expected)
    driven_ranks.assert_same_losses(training.history(on_host), expected)
