"""A rank above 0: it runs what rank 0 runs, and saves nothing."""

from pathlib import Path

import pytest

from pipelines.worker import job
from pipelines.worker.clone import cloned
from tests.pipelines.conftest import Repository

# Rank 0 alone writes, as stages/train.py does.
RANKED = """
stages:
  first:
    cmd: echo first >first.txt
    deps: [work.py]
    outs: [first.txt]
  train:
    foreach: ${models}
    do:
      cmd: >-
        cat first.txt; echo "$KERAS_DISTRIBUTION_PROCESS_ID of $DVC_STAGE"; basename "$CONVOY_CHECKPOINTS";
        test "$STATUS" = 0 || exit $STATUS; test "$KERAS_DISTRIBUTION_PROCESS_ID" = 1 || echo x >${key}.txt
      deps: [first.txt]
      outs: ["${key}.txt"]
"""
TRAIN = {"CONVOY_STAGE": "train@a", "CONVOY_PARAMS": "models:\n  a: {}\n", "STATUS": "0"}
RANK = TRAIN | {"KERAS_DISTRIBUTION_PROCESS_ID": "1"}


@pytest.fixture
def ranked(repository: Repository) -> Repository:
    repository.write("dvc.yaml", RANKED)
    repository.write(".gitignore", "*.txt\n")
    repository.commit()
    return repository


@pytest.mark.slow
def test_a_rank_runs_the_stage_and_saves_nothing(ranked: Repository) -> None:
    result, output = ranked.work("rank", **RANK)
    assert result["outcome"] == "ran"
    assert "first\n1 of train@a\ntrain@a\n" in output, "the inputs, and the checkpoints of rank 0"
    assert "ERROR" not in output, "that it writes nothing is no error"
    again, output = ranked.work("stage", **TRAIN)
    assert again["outcome"] == "ran"
    assert "Stage 'first' is cached" in output
    # Rank 0 was forced to run, or another run has saved the same meanwhile: rank 0 waits for this one.
    after, output = ranked.work("rank", **RANK)
    assert after["outcome"] == "ran"
    assert "1 of train@a" in output


@pytest.mark.slow
def test_the_end_of_a_rank_means_what_that_of_a_stage_does(ranked: Repository) -> None:
    for code in ("75", "134"):
        failed, _ = ranked.work("rank", status=1, **RANK | {"STATUS": code})
        assert failed["outcome"] == "failed"
        assert failed["reason"].endswith(f"exited with {code}")
    ranked.write("dvc.yaml", RANKED.replace("test ", "echo time=x level=$LEVEL event=wrong; test ", 1))
    ranked.commit()
    refused, _ = ranked.work("rank", status=2, **RANK | {"STATUS": "2", "LEVEL": "error"})
    assert refused["reason"] == "wrong"


def test_clones_of_two_ranks_are_no_leftovers_of_each_other(repository: Repository) -> None:
    environment = repository.environment("rank", **RANK)
    ranks = [job.read(environment | {"KERAS_DISTRIBUTION_PROCESS_ID": str(rank)}) for rank in (1, 11)]
    first = job.read(environment | {"CONVOY_ACTION": "stage"})
    assert first.rank == 0
    with cloned(ranks[0]) as clone, cloned(ranks[1]), cloned(first):
        assert clone.exists()
        killed = Path(f"{clone.parent}x").with_name(f"{clone.parent.name[:-8]}leftover")
        killed.mkdir()
        with cloned(ranks[1]), cloned(first):
            assert killed.exists()
    with cloned(ranks[0]):
        assert not killed.exists(), "of an earlier try of the same rank"


@pytest.mark.parametrize("rank", ["", "0", "two"])
def test_a_rank_needs_its_number(repository: Repository, rank: str) -> None:
    environment = repository.environment("rank", **RANK | {"KERAS_DISTRIBUTION_PROCESS_ID": rank})
    with pytest.raises(job.RefusedError, match="must be a number from 1, as CONVOY_ACTION is rank"):
        job.read(environment)
