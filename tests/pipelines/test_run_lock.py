"""The tasks of a run take the run's own results, and runs that would do the same work wait for each other."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.worker import run_lock, stage_lock
from pipelines.worker.clone import cloned
from pipelines.worker.job import Job, read
from tests.pipelines.conftest import Repository
from tests.pipelines.worker_runs import STAGES, planned, run

pytestmark = pytest.mark.slow

# Each run of a stage has another result.
TIMED = ("**values}", '**values, "time": time.time_ns()}')


def timed(repository: Repository, **more: str) -> None:
    work = (repository.root / "work.py").read_text(encoding="utf-8").replace(*TIMED)
    for old, new in more.items():
        work = work.replace(old, new)
    repository.write("work.py", work)
    repository.commit()


def job(repository: Repository, action: str = "stage", **variables: str) -> Job:
    return read(
        repository.environment(action, CONVOY_STAGE="train@a", CONVOY_PARAMS="base: 1\n", **variables)
    )


def stage(repository: Repository, name: str, params: str, run_name: str, **variables: str) -> dict[str, Any]:
    words = {"CONVOY_STAGE": name, "CONVOY_PARAMS": params, "CONVOY_RUN": run_name, **variables}
    return repository.work("stage", **words)[0]


def test_a_run_goes_on_with_its_own_results(repository: Repository) -> None:
    """Of two results of the same inputs, DVC takes the one that was saved last: another run's."""
    timed(repository)
    params = repository.work("plan", CONVOY_RUN="mine")[0]["params"]
    run(repository, params, "first", "train@a", "train@b", name="mine")
    # Another run computes the same again, and is the last to save it.
    stage(repository, "train@a", params, "other", CONVOY_FORCED='["train@a"]')
    assert run(repository, params, "train@a", "judge", name="mine") == {"train@a": "restored", "judge": "ran"}
    result, _ = repository.work("record", CONVOY_PARAMS=params, CONVOY_RUN="mine")
    assert result["reason"] == "all 4 stages restored from the cache"


def test_a_run_without_a_plan_has_no_entries_and_a_damaged_file_counts_as_none(
    repository: Repository, tmp_path: Path
) -> None:
    task = job(repository, CONVOY_RUN="mine")
    assert run_lock.load(task) == {}
    folder = repository.state / run_lock.FOLDER / "mine"
    folder.mkdir(parents=True)
    for number, text in enumerate(("{", "[]", "stages: 3", "")):
        (folder / f"{number}.lock").write_text(text, encoding="utf-8")
    assert run_lock.load(task) == {}
    (tmp_path / "dvc.lock").write_text("stages: {first: {cmd: a}, judge: {cmd: b}}", encoding="utf-8")
    run_lock.begin(task, tmp_path, ["first"])
    assert run_lock.load(task) == {"first": {"cmd": "a"}}
    run_lock.add(task, tmp_path, {"first"})
    assert sorted(path.name for path in folder.glob("[!0-9]*")) == ["first.lock", "judge.lock", "~plan.lock"]


def test_a_task_of_a_member_has_no_entries_of_the_others(repository: Repository) -> None:
    timed(repository)
    params = repository.work("plan", CONVOY_RUN="mine")[0]["params"]
    run(repository, params, *STAGES, name="mine")
    locks = {}
    for address in ("train@a", "judge"):
        variables = {"CONVOY_STAGE": address, "CONVOY_PARAMS": params, "CONVOY_RUN": "mine"}
        with cloned(read(repository.environment("stage", **variables))) as root:
            locks[address] = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    assert set(locks["train@a"]) == {"first", "train@a", "judge"}
    assert set(locks["judge"]) == {"first", "train@a", "train@b", "judge"}


def test_two_runs_that_would_do_the_same_work_wait_for_each_other(
    repository: Repository, tmp_path: Path
) -> None:
    """The points of a sweep start at once; each trained every member that they have in common."""
    log = tmp_path / "work.log"
    params, _ = planned(repository)
    # Both tasks wait for a third holder of the lock, which is this process.
    root = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", repository.root, root], check=True)
    (root / "params.yaml").write_text(params, encoding="utf-8")
    variables = {"CONVOY_STAGE": "first", "CONVOY_PARAMS": params, "WORK_LOG": str(log)}
    with stage_lock.held(root, read(repository.environment("stage", **variables))):
        tasks = [
            repository.start("stage", CONVOY_RUN=name, CONVOY_RESULT=str(tmp_path / name), **variables)
            for name in ("one", "two")
        ]
        for task in tasks:
            assert task.stdout is not None
            assert task.stdout.readline() == "waiting: another run works on the same stage\n"
    for task in tasks:
        task.communicate(timeout=120)
    outcomes = sorted(json.loads((tmp_path / name).read_text())["outcome"] for name in ("one", "two"))
    assert outcomes == ["ran", "restored"]
    assert log.read_text(encoding="utf-8").count("start first.json") == 1


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        # Of a `foreach`, only the stage's own member counts; of the stages after it, nothing.
        (("train@a", {"models": {"b": {"c": 2}}}), ("train@a", {}), True),
        (("train@a", {"models": {"a": {"c": 2}}}), ("train@a", {}), False),
        (("train@a", {"base": 2}), ("train@a", {}), False),
        (("train@a", {}), ("train@b", {}), False),
        (("judge", {"models": {"b": {"c": 2}}}), ("judge", {}), False),
        (("first", {"models": {"b": {"c": 2}}}), ("first", {}), True),
    ],
)
def test_the_same_work_is_that_of_the_same_params(
    repository: Repository, first: tuple[str, Any], second: tuple[str, Any], same: bool
) -> None:
    digests = []
    for address, changes in (first, second):
        values = {"base": 1, "models": {"a": {}, "b": {"c": 1}}}
        models = values["models"] | changes.get("models", {})
        repository.write("params.yaml", json.dumps(values | changes | {"models": models}))
        digests.append(stage_lock._same_work(repository.root, address))
    assert (digests[0] == digests[1]) == same


def test_what_a_forced_stage_made_is_what_later_runs_take(repository: Repository) -> None:
    """Its run may end before `record`: a plan said that there was nothing to do, and named the old run."""
    timed(repository)
    params = repository.work("plan", CONVOY_RUN="recorded")[0]["params"]
    run(repository, params, *STAGES, name="recorded")
    repository.work("record", CONVOY_PARAMS=params, CONVOY_RUN="recorded")
    repository.work("plan", CONVOY_RUN="forced", CONVOY_FORCED='["train@a"]')
    stage(repository, "train@a", params, "forced", CONVOY_FORCED='["train@a"]')
    plan, _ = repository.work("plan", CONVOY_RUN="later")
    assert plan["recorded"] is None
    assert [name for name, planned_stage in plan["stages"].items() if planned_stage["runs"]] == ["judge"]
    assert run(repository, params, "judge", name="later") == {"judge": "ran"}
    repository.work("record", CONVOY_PARAMS=params, CONVOY_RUN="later")
    assert repository.work("plan", CONVOY_RUN="last")[0]["recorded"]["experiment"] == "later"
