"""A task's clone: what it takes from the repository and what it has of its own."""

import subprocess

from pipelines.worker import job
from pipelines.worker.clone import cloned
from tests.pipelines.conftest import Repository


def test_outputs_are_linked_as_the_repository_says(repository: Repository) -> None:
    """With reflinks first, a folder that a stage had just written stayed a copy beside the cache."""
    repository.write(".dvc/config", "[cache]\n    type = hardlink,symlink,copy\n")
    repository.git("commit", "--all", "--quiet", "--message=Links")
    environment = repository.environment(
        "stage", CONVOY_RUN="run", CONVOY_STAGE="first", CONVOY_PARAMS="base: 1\n"
    )
    with cloned(job.read(environment)) as clone:
        words = ["dvc", "config", "cache.type"]
        done = subprocess.run(words, cwd=clone, capture_output=True, text=True, check=True)
        local = (clone / ".dvc" / "config.local").read_text(encoding="utf-8")
    assert done.stdout.strip() == "['hardlink', 'symlink', 'copy']"
    assert f"dir = {repository.shared / 'cache'}" in local
