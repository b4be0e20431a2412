"""Ctrl-C while trainings run. The last file that uses the pipeline of seconds, as Airflow is stopped then."""

import time

import pytest

from tests.pipelines.conftest import Repository, has_ended
from tests.pipelines.e2e.client import Airflow, wait_until
from tests.pipelines.e2e.conftest import Local

pytestmark = pytest.mark.slow

# 12 s without a run; with two it took 47 s while tasks waited for a server that had ended.
MOST_SECONDS = 30


def test_ctrl_c_ends_two_runs_within_seconds(tiny: tuple[Repository, Local], airflow: Airflow) -> None:
    repository, local = tiny
    names = ("stopped-1", "stopped-2")
    for seconds, name in enumerate(names, start=3601):
        airflow.trigger("train", name, overrides=[f"+models.a.waits={seconds}"])

    def are_waiting() -> bool:
        checkpoints = repository.root / ".convoy" / "checkpoints"
        return all((checkpoints / f"train-{name}" / "train@a" / "half").exists() for name in names)

    wait_until(are_waiting, 300, "both trainings")
    training = local.process("pipelines.worker", "CONVOY_STAGE=train@a").pid
    begun = time.monotonic()
    local.stop()
    assert time.monotonic() - begun < MOST_SECONDS
    assert has_ended(training)
