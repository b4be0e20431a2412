"""A task's clone: what it takes from the repository and what it has of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from pipelines.worker import job
from pipelines.worker.clone import cloned, overlay
from tests.pipelines.conftest import Repository, make
from tests.pipelines.worker_runs import planned, run


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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shared #2", "shared,1"])
def test_a_path_may_have_what_dvcs_configuration_reads_otherwise(tmp_path: Path, name: str) -> None:
    """DVC's cache was beside the folder (#), or every task failed (,)."""
    repository = make(tmp_path)
    repository.shared = tmp_path / name
    params, _ = planned(repository)
    assert run(repository, params, "first") == {"first": "ran"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["origin", name]
    assert "objects of DVC's cache" in repository.work("clean_up")[1]


def test_a_clone_has_the_kinds_of_files_of_the_working_tree(repository: Repository, tmp_path: Path) -> None:
    """A link to the images, a file that is a folder now, a folder that is a file, a name that is no UTF-8."""
    for name in ("file", "folder/inner.txt"):
        repository.write(name, "old")
    repository.commit()
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", ".", str(clone))
    (clone / "datasets").symlink_to(tmp_path)
    (repository.root / "datasets").symlink_to(tmp_path)
    (repository.root / "file").unlink()
    repository.write("file/inner.txt", "new")
    (repository.root / "folder" / "inner.txt").unlink()
    (repository.root / "folder").rmdir()
    repository.write("folder", "new")
    (repository.root / os.fsdecode(b"H\xfctte.txt")).write_text("new")
    overlay(clone, repository.root)
    assert (clone / "datasets").resolve() == tmp_path
    assert (clone / "file" / "inner.txt").read_text() == "new"
    assert (clone / "folder").read_text() == "new"
    assert (clone / os.fsdecode(b"H\xfctte.txt")).read_text() == "new"
