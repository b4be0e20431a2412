"""A runner that trains LeNet on this project's digits, as one work or as two ranks."""

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.dvc_clone import clone_working_tree
from tests.pipelines.conftest import Repository
from tests.pipelines.driven import Driven, ended, upto

EPOCHS = 12
TRAIN = "train@lenet"
# A rank has ten seconds to end by itself, and ten more after SIGTERM.
SECONDS_TO_END = 30


class Training:
    """A runner on a clone of this project.

    Args:
        driven: The runner, on a repository that `repository` made.
        address: MLFLOW_TRACKING_URI of the stages.
    """

    def __init__(self, driven: Driven, address: str) -> None:
        self._driven = driven
        params = yaml.safe_load((driven.repository.root / "params.yaml").read_text(encoding="utf-8"))
        params["ingest"] |= {"val_fraction": 0.4, "test_fraction": 0.4}
        params["models"]["lenet"]["train"] |= {"epochs": EPOCHS, "checkpoint_every": 1, "deterministic": True}
        driven.config |= {"passed_variables": {"KERAS_BACKEND": "jax"}}
        # Of `pipelines/config.py`: each try finds what the first has compiled.
        self._variables = {
            "CONVOY_PARAMS": yaml.safe_dump(params),
            "CONVOY_RUN": "pair",
            "MLFLOW_TRACKING_URI": address,
            "KERAS_BACKEND": "jax",
        }

    def started(self, stage: str = TRAIN, nodes: int = 2, **variables: str) -> Any:
        """The runner's process; its work is killed at the end of the block."""
        settings = {"image": "train", "nodes": nodes}
        return self._driven.started(stage, settings=settings, **self._variables | variables)

    def __call__(self, stage: str = TRAIN, nodes: int = 2, **variables: str) -> tuple[dict[str, Any], str]:
        """The result, and what was logged."""
        with self.started(stage, nodes, **variables) as process:
            return ended(process)

    def interrupted(self, command: Callable[[], list[str]]) -> tuple[dict[str, Any], float, str]:
        """End a rank in the midst of the training, by the command that is returned then.

        Returns:
            The result, the seconds from the command to the runner's end, and the log's later lines.
        """
        with self.started() as process:
            assert process.stdout is not None
            upto(process.stdout, "number=2/")
            words = command()
            began = time.monotonic()
            subprocess.run(words, check=True, capture_output=True)
            result, output = ended(process)
            return result, time.monotonic() - began, output

    def cancelled(self) -> dict[str, Any]:
        """Cancel the work in the midst of the training, as Airflow does; the result."""
        with self.started() as process:
            assert process.stdout is not None
            upto(process.stdout, "finished_epoch")
            process.terminate()
            return ended(process)[0]

    def history(self, result: dict[str, Any]) -> dict[str, Any]:
        """The history that a training has saved in the cache."""
        folder = self._cached(result["outputs"]["models/lenet"]["digest"])
        (row,) = [row for row in json.loads(folder) if row["relpath"] == "history.json"]
        history: dict[str, Any] = json.loads(self._cached(row["md5"]))
        return history

    def _cached(self, digest: str) -> str:
        path = self._driven.repository.shared / "cache" / "files" / "md5" / digest[:2] / digest[2:]
        return path.read_text(encoding="utf-8")


def repository(folder: Path) -> Repository:
    """A clone of this project, and the folders that its tasks share."""
    clone_working_tree(folder / "origin")
    return Repository(folder / "origin", folder / "shared")


def assert_same_losses(history: dict[str, Any], expected: dict[str, Any]) -> None:
    """Equal but for rounding, in every epoch."""
    assert history["epoch"] == list(range(1, EPOCHS + 1))
    for series in ("loss", "val_loss", "accuracy"):
        difference = np.abs(np.subtract(history[series], expected[series])).max()
        assert difference <= 1e-5, series


def runs_of_training(database: Path) -> int:
    """How many runs of the training an SQLite file of MLflow has."""
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT count(*) FROM tags WHERE key = 'stage' AND value = ?"
        return int(connection.execute(query, (TRAIN,)).fetchone()[0])
