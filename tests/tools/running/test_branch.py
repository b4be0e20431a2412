"""A run that was killed leaves HEAD detached; the next one attaches it."""

import subprocess
from pathlib import Path

import pytest

from stages.tools.running import branch


def git(*words: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository as a run leaves it that is killed under `dvc exp run`."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q", "-b", "topic")
    git("commit", "-q", "--allow-empty", "-m", "First")
    run = branch.remembered()
    run.__enter__()
    git("checkout", "-q", "--detach")


def test_the_next_run_attaches_head() -> None:
    with branch.remembered():
        assert git("symbolic-ref", "HEAD") == "refs/heads/topic"
    assert not Path(".convoy/branch").exists()


def test_another_commit_that_a_person_checked_out_stays() -> None:
    git("commit", "-q", "--allow-empty", "-m", "Second")
    commit = git("rev-parse", "HEAD")
    with branch.remembered():
        assert git("rev-parse", "HEAD") == commit
        assert git("rev-parse", "--abbrev-ref", "HEAD") == "HEAD"


def test_outside_of_a_repository_nothing_is_remembered(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("plain"))
    with branch.remembered():
        assert not Path(".convoy").exists()
