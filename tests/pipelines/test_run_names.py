"""Runs, and stages of runs, that are not the same have no name in common."""

from dataclasses import dataclass

import pytest

from pipelines import runners
from pipelines.worker import job
from pipelines.worker.clone import cloned
from tests.pipelines.conftest import Repository


@dataclass
class Run:
    """What a run's name is made of."""

    run_id: str
    dag_id: str = "train"


@pytest.mark.parametrize("run", [Run("first"), Run("after-2-days"), Run("first", "retrain")])
def test_a_name_that_needs_no_change_stays(run: Run) -> None:
    assert runners.run_name(run) == f"{run.dag_id}-{run.run_id}"


def test_an_id_of_airflows_own_stays_readable() -> None:
    name = runners.run_name(Run("manual__2026-11-28T13:10:00.123456+00:00"))
    assert name.startswith("train-2026-11-28T13-10-00-123456-00-00-")
    assert len(name.rpartition("-")[2]) == 8


def test_runs_that_differ_in_one_character_have_two_names() -> None:
    ids = [
        "lr=0.1",
        "lr=0_1",
        "lr-0-1",
        "lr-0-1-",
        "lr--0-1",
        "manual__lr-0-1",
        "scheduled__lr-0-1",
        "ä",
        "ö",
    ]
    runs = [*map(Run, ids), Run("1", "clean_up"), Run("1", "clean-up")]
    assert len({runners.run_name(run) for run in runs}) == len(runs)


def test_a_name_that_leaves_no_room_for_a_stage_is_refused() -> None:
    assert len(runners.run_name(Run("x" * 144))) == 150
    with pytest.raises(
        ValueError, match=r"name has 151 characters: train-xxx.*; at most 150 are allowed; "
    ) as raised:
        runners.run_name(Run("x" * 145))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("runs", "started"),
    [
        (("run", "train@a-b"), ("run", "train@a")),
        (("run-train", "judge"), ("run", "train")),
        (("run-first", "first"), ("run", "first")),
    ],
)
def test_a_clone_that_is_used_is_no_leftover_of_another_task(
    repository: Repository, runs: tuple[str, str], started: tuple[str, str]
) -> None:
    def read(run: str, stage: str) -> job.Job:
        return job.read(
            repository.environment("stage", CONVOY_RUN=run, CONVOY_STAGE=stage, CONVOY_PARAMS="base: 1\n")
        )

    with cloned(read(*runs)) as clone, cloned(read(*started)):
        assert clone.exists()
