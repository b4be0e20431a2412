"""What old tasks leave is listed and removed; nothing that is used, recent, or outside of its folder."""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.worker import clean_up, leftovers, locks, unused_cache
from tests.paths import ROOT
from tests.pipelines.conftest import Repository
from tests.pipelines.worker_runs import planned, run

OLD = time.time() - 40 * 86_400
# A clean-up that has its clone, and waits.
CLONING = """
from pathlib import Path
from pipelines.worker import clean_up, clone
with clone.cloned(clean_up._jobs(Path.cwd(), "30", removes=False)[0]) as root:
    print(root, flush=True)
    input()
"""


def age(path: Path) -> None:
    """Make a file, or a folder with all below, 40 days old."""
    for entry in (*path.rglob("*"), path):
        os.utime(entry, (OLD, OLD), follow_symlinks=False)


def test_old_entries_go_and_no_link_is_followed(tmp_path: Path) -> None:
    outside, state = tmp_path / "outside", tmp_path / "state"
    (outside / "folder").mkdir(parents=True)
    (outside / "file").write_text("of a person")
    old = state / "failed" / "old" / "train@a"
    old.mkdir(parents=True)
    (old / "a.json").write_text("x" * 1000)
    (old / "to a file").symlink_to(outside / "file")
    (old / "to a folder").symlink_to(outside / "folder")
    (state / "failed" / "link").symlink_to(outside)
    (state / "results").symlink_to(outside)
    (state / "failed" / "half old" / "deep").mkdir(parents=True)
    age(tmp_path)
    (state / "failed" / "half old" / "deep" / "new").touch()
    before = time.time() - 30 * 86_400

    entries = leftovers.find(state, "failed", before)
    assert (entries.names, entries.size) == (["link", "old"], 1000)
    assert leftovers.remove(state, "failed", entries.names) == []
    assert sorted(path.name for path in (state / "failed").iterdir()) == ["half old"]
    assert leftovers.find(state, "results", before).names == [], "a link instead of a folder"
    assert leftovers.remove(state, "results", ["file", "folder"]) == []
    assert sorted(path.name for path in outside.iterdir()) == ["file", "folder"]


def test_a_training_that_holds_its_lock_keeps_its_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "run-1" / "train@a" / "a-0123"
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    age(tmp_path)
    with (folder / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert leftovers.find(tmp_path, "checkpoints", time.time()).names == []
    assert leftovers.find(tmp_path, "checkpoints", time.time()).names == ["run-1"]


def test_what_cannot_be_removed_is_reported(tmp_path: Path) -> None:
    (tmp_path / "plans" / "old").mkdir(parents=True)
    assert leftovers.remove(tmp_path, "plans", ["old", "gone"]) == []
    if os.getuid() == 0:
        pytest.skip("root removes everything")
    (tmp_path / "plans" / "old").mkdir()
    (tmp_path / "plans").chmod(0o500)
    assert leftovers.remove(tmp_path, "plans", ["old"]) == ["plans/old stays: Permission denied"]


def test_tasks_share_the_lock_and_a_clean_up_has_it_alone(tmp_path: Path) -> None:
    with locks.shared(tmp_path), locks.shared(tmp_path), locks.exclusive(tmp_path) as alone:
        assert not alone
    with locks.exclusive(tmp_path) as alone:
        assert alone
    with locks.shared(None), locks.exclusive(None) as alone:
        assert not alone, "without a state folder nobody knows"


CleanUp = Callable[..., str]


@pytest.fixture(name="clean_up")
def _clean_up(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CleanUp:
    """`make clean-up` in the repository, with an exit status to expect; returns its output."""
    monkeypatch.chdir(repository.root)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    for name in ("CONVOY_HOME", "CONVOY_STATE", "CONVOY_CLAIM"):
        monkeypatch.delenv(name, raising=False)

    def run_main(*words: str, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["clean_up", *words])
        ended = clean_up.main()
        output = "".join(capsys.readouterr())
        assert ended == status, output
        return output

    return run_main


@pytest.mark.slow
def test_an_age_in_words(clean_up: CleanUp) -> None:
    assert clean_up("--days", "1").startswith("older than 1 day ")
    assert (
        clean_up("--days", "week", status=1)
        == "error: DAYS is week; must be a number of days from 1 to 36500\n"
    )


@pytest.mark.slow
def test_the_state_folder_is_that_of_the_tasks(
    clean_up: CleanUp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("CONVOY_STATE", str(state))
    with locks.shared(state):
        assert "tasks run: their clones and DVC's cache stay as they are" in clean_up("--remove")
    monkeypatch.setenv("CONVOY_CLAIM", "shared")
    with locks.shared(state):
        assert "tasks run" not in clean_up("--remove"), "a folder in pods"


@pytest.mark.slow
def test_two_clean_ups_at_once_do_not_meet(repository: Repository, clean_up: CleanUp) -> None:
    words = [sys.executable, "-c", CLONING]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        words, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        clone = Path(other.stdout.readline().strip())
        clean_up()
        assert clone.is_relative_to(repository.root / ".convoy/work")
        assert (clone / "dvc.yaml").is_file()
        other.communicate("\n")


def objects(repository: Repository) -> set[str]:
    """The contents of all objects of the cache."""
    return {
        path.read_text(encoding="utf-8")
        for path in (repository.root / ".dvc/cache/files").rglob("*/*")
        if path.is_file()
    }


def run_with(repository: Repository, base: int) -> None:
    repository.write("params.yaml", f"base: {base}\nmodels:\n  a: {{}}\n")
    repository.dvc("repro", "--quiet")


@pytest.mark.slow
def test_dvcs_cache_keeps_what_git_the_workspace_and_recent_runs_name(
    repository: Repository, clean_up: CleanUp
) -> None:
    """Bases 1 to 5: a run of long ago, one in git's history, a saved, a recent one, the working tree's."""
    repository.write("conf/config.yaml", "base: 1\n")
    run_with(repository, 1)
    repository.write("data.txt", "brought by a person")
    repository.dvc("add", "--quiet", "data.txt")
    run_with(repository, 2)
    repository.git("add", "--force", "dvc.lock", "data.txt.dvc")
    repository.commit()
    repository.git("rm", "--quiet", "--cached", "dvc.lock", "data.txt.dvc")
    (repository.root / "data.txt.dvc").unlink()
    repository.commit()
    run_with(repository, 3)
    repository.dvc("exp", "save", "--quiet", "--name", "saved")
    age(repository.root / ".dvc" / "cache" / "runs")
    run_with(repository, 4)
    run_with(repository, 5)
    cached = objects(repository)
    assert all(f'{{"base": {base}}}' in cached for base in range(1, 6))

    listed = clean_up()
    # judge.json names the base alone, as the members do: the outputs of all three stages are one object.
    assert "objects of DVC's cache                    1 " in listed
    assert "1 experiments, 0 plans, 0 complete runs and 6 results of stages of the last 30 days" in listed
    assert "Nothing was removed" in listed
    assert objects(repository) == cached

    with locks.shared(repository.root / ".convoy"):
        assert "tasks run: their clones and DVC's cache stay as they are" in clean_up("--remove")
    lock = (repository.root / "dvc.lock").read_text(encoding="utf-8")
    repository.write("dvc.lock", f"<<<<<<< HEAD\n{lock}")
    assert "dvc.lock is no file of DVC" in clean_up("--remove", status=1)
    repository.write("dvc.lock", lock)
    assert objects(repository) == cached

    clean_up("--remove")
    assert cached - objects(repository) == {'{"base": 1}'}
    assert "brought by a person" in objects(repository)
    assert "up to date" in repository.dvc("repro")
    run_with(repository, 1)
    assert '{"base": 1}' in objects(repository), "made again"


@pytest.mark.slow
def test_a_cache_that_a_running_stage_will_write_to_stays(
    repository: Repository, clean_up: CleanUp, tmp_path: Path
) -> None:
    (repository.root / ".dvc" / "cache").mkdir()
    started, ends = tmp_path / "started", tmp_path / "ends"
    for pipe in (started, ends):
        os.mkfifo(pipe)
    command = f"echo >{started} && cat {ends}"
    repository.write("dvc.yaml", f"stages:\n  wait: {{cmd: '{command}', deps: [work.py]}}\n")
    words = [sys.executable, "-m", "dvc", "repro", "--quiet"]
    with subprocess.Popen(words, cwd=repository.root) as dvc:
        started.read_text(encoding="utf-8")
        listed, removed = clean_up(), clean_up("--remove")
        ends.write_text("", encoding="utf-8")
    assert dvc.returncode == 0
    for output in (listed, removed):
        assert f"DVC runs in {repository.root}: its cache stays as it is" in output


@pytest.mark.slow
def test_no_dvc_command_starts_while_the_cache_is_cleaned(
    repository: Repository, clean_up: CleanUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its outputs would be none of those that were found needed."""
    (repository.root / ".dvc" / "cache").mkdir()
    needed, refused = unused_cache.needed, []

    def needed_and_then_run(*about: Any) -> unused_cache.Needed:
        keep = needed(*about)
        with pytest.raises(subprocess.CalledProcessError) as failure:
            repository.dvc("repro")
        refused.append(failure.value.stderr)
        return keep

    monkeypatch.setattr(unused_cache, "needed", needed_and_then_run)
    clean_up("--remove")
    assert ["Unable to acquire lock" in error for error in refused] == [True]
    with (repository.root / ".dvc" / "tmp" / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "its cache stays as it is" in clean_up("--remove")


@pytest.mark.slow
def test_a_task_cleans_up_what_killed_and_finished_tasks_left(repository: Repository) -> None:
    params, _ = planned(repository)
    run(repository, params, "first")
    age(repository.shared / "cache" / "runs")
    planned(repository)
    clone = repository.shared / "work" / "convoy-run-0-train@a-killed"
    folders = [repository.state / "failed" / "run-0", repository.state / "checkpoints" / "run-0", clone]
    for folder in folders:
        folder.mkdir(parents=True)
        age(folder)
    with repository.start("clean_up") as process:
        output, _ = process.communicate(timeout=120)
    result = json.loads((repository.shared / "result.json").read_text(encoding="utf-8"))
    assert result["outcome"] == "cleaned"
    assert result["reason"] == "found 3 leftovers of tasks, 0.0 MB"
    assert result["leftovers"]["checkpoints of abandoned trainings"] == [1, 0]
    assert "objects of DVC's cache" in output
    result, _ = repository.work("clean_up", CONVOY_REMOVE="1")
    assert result["reason"] == "removed 3 leftovers of tasks, 0.0 MB"
    assert not any(folder.exists() for folder in folders)
    assert run(repository, params, "first") == {"first": "restored"}, "a run that was planned needs it"


@pytest.mark.slow
def test_a_run_that_each_plan_confirms_keeps_its_outputs(repository: Repository) -> None:
    params, _ = planned(repository)
    run(repository, params, "judge")
    planned(repository)
    age(repository.state)
    age(repository.shared / "cache")
    assert planned(repository)[1] == {}, "nothing to do, which the complete run says, not DVC"
    result, output = repository.work("clean_up", CONVOY_REMOVE="1")
    assert "0 plans, 1 complete runs and 0 results of stages" in output
    assert result["leftovers"]["objects of DVC's cache"][0] == 0
    assert planned(repository)[1] == {}, "the next run trains everything again"


@pytest.mark.slow
def test_a_task_without_folders_finds_nothing(repository: Repository) -> None:
    """As in a pod without a claim."""
    result, output = repository.work(
        "clean_up", CONVOY_REMOVE="1", CONVOY_STATE="", CONVOY_CACHE="", CONVOY_WORK=""
    )
    assert result["reason"] == "removed 0 leftovers of tasks, 0.0 MB"
    assert "there is no state folder: clones and DVC's cache stay as they are" in output
    assert "tasks run" not in output


@pytest.mark.slow
def test_a_wrong_age_is_refused(repository: Repository) -> None:
    result, _ = repository.work("clean_up", CONVOY_DAYS="-1", status=2)
    assert result["reason"] == "CONVOY_DAYS is -1; must be a number of days from 1 to 36500"
