"""A stage that fails, a worker that is stopped or killed: what they leave behind, and the next try."""

import os
import signal

import pytest

from tests.pipelines.conftest import Repository, has_ended
from tests.pipelines.worker_runs import planned, run

pytestmark = pytest.mark.slow


def test_an_unexpected_error_leaves_a_result_with_its_place(repository: Repository) -> None:
    params, _ = planned(repository)
    variables = {"CONVOY_STAGE": "first", "CONVOY_PARAMS": params, "KERAS_DISTRIBUTION_NUM_PROCESSES": "two"}
    result, output = repository.work("stage", status=1, **variables)
    assert result["outcome"] == "failed"
    assert result["reason"].startswith("unexpected ValueError")
    assert "stage_lock.py:" in result["reason"]
    assert result["traceback"].startswith("Traceback (most recent call last)")
    assert result["traceback"] in output


def test_metrics_that_are_no_numbers_by_name_fail_no_stage(repository: Repository) -> None:
    """They did, after the stage had run; the next try called it restored, and `record` failed for good."""
    work = (repository.root / "work.py").read_text(encoding="utf-8")
    repository.write("work.py", f'{work}\nif "judge" in name:\n    path.write_text("[1]")\n')
    graph = (repository.root / "dvc.yaml").read_text(encoding="utf-8")
    repository.write("dvc.yaml", graph.replace("[out/judge.json]", "[{out/judge.json: {cache: true}}]"))
    repository.commit()
    params, _ = planned(repository)
    run(repository, params, "first", "train@a", "train@b")
    result, output = repository.work("stage", CONVOY_STAGE="judge", CONVOY_PARAMS=params)
    assert (result["outcome"], result["metrics"]) == ("ran", {})
    assert "out/judge.json is not a JSON object; its metrics are left out" in output


@pytest.mark.parametrize(
    ("how", "status", "outcome", "reason"),
    [
        # A retry meets a permanent error again. 75 (EX_TEMPFAIL) says that the error is transient; 70, and a
        # signal after a line with level=error, that it is unexpected.
        ("fails=true", 2, "refused", 'the member is set to "fail"'),
        ("fails=2", 2, "refused", 'the member is set to "fail"'),
        ("fails=75", 1, "failed", 'the member is set to "fail"'),
        ("fails=70", 1, "failed", 'the member is set to "fail"'),
        ("fails=-9", 1, "failed", 'the member is set to "fail"'),
        ("crashes=true", 1, "failed", "failed to reproduce 'train@a'"),
    ],
)
def test_a_failing_stage_says_why_and_leaves_what_it_wrote(
    repository: Repository, how: str, status: int, outcome: str, reason: str
) -> None:
    params, _ = planned(repository, f"+models.a.{how}")
    variables = {"CONVOY_STAGE": "train@a", "CONVOY_PARAMS": params, "CONVOY_RUN": "run-1"}
    result, output = repository.work("stage", status=status, **variables)
    assert result["outcome"] == outcome
    assert reason in result["reason"]
    records = list((repository.state / "failed" / "run-1" / "train@a").rglob("*.json"))
    assert [path.name for path in records] == ["a.json"]
    folder = repository.state / "failed" / "run-1" / "train@a"
    assert result["reason"].endswith(f"; see {folder}"), "in the task's error, its run's note, the webhook"
    assert result["reason"] in output


def test_a_stopped_stage_takes_all_along_and_the_next_try_resumes(repository: Repository) -> None:
    params, _ = planned(repository, "+models.a.waits=600")
    run(repository, params, "first")
    variables = {"CONVOY_STAGE": "train@a", "CONVOY_PARAMS": params, "CONVOY_RUN": "run-1"}
    with repository.start("stage", **variables) as process:
        assert process.stdout is not None
        child = next(int(line.split()[1]) for line in process.stdout if line.startswith("waiting"))
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert process.returncode == 143
    assert has_ended(child)

    # Its clone is gone; what its tracking server has not heard yet is not, and the next try sends it.
    assert not list((repository.shared / "work").iterdir())
    assert (repository.state / "tracking" / "run-1" / "train@a" / "unsent").exists()

    # A killed worker cannot clean up; the next try does it.
    leftover = repository.shared / "work" / "convoy-run-1~train@a~0~left"
    leftover.mkdir()
    assert run(repository, params, "train@a") == {"train@a": "ran"}
    assert not leftover.exists()
    repository.work("stage", CONVOY_STAGE="train@b", CONVOY_PARAMS=params)
    repository.work("stage", CONVOY_STAGE="judge", CONVOY_PARAMS=params)
    assert (repository.state / "checkpoints" / "run-1" / "train@a" / "half").exists()
    repository.work("record", CONVOY_PARAMS=params, CONVOY_RUN="run-1")
    assert not (repository.state / "checkpoints" / "run-1").exists(), "a recorded run needs no checkpoints"
    commit = repository.git("for-each-ref", "--format=%(objectname)", "refs/exps/??/*/*").strip()
    assert "out/train/a.json" in repository.git("show", f"{commit}:dvc.lock")


# test_worker_killed.py has the other points of a task's life, with a remote instead of the shared cache.
@pytest.mark.parametrize("line", ["wrote its output", "Updating lock file"])
def test_a_worker_killed_around_dvcs_commit_is_followed_by_a_complete_run(
    repository: Repository, line: str
) -> None:
    """Before DVC has the outputs, and while it takes them."""
    work = (repository.root / "work.py").read_text(encoding="utf-8")
    ending = 'if member == "a":\n    print("wrote its output", flush=True)\n'
    repository.write("work.py", f"{work}\n{ending}")
    repository.commit()
    params, _ = planned(repository)
    run(repository, params, "first")
    variables = {"CONVOY_STAGE": "train@a", "CONVOY_PARAMS": params, "CONVOY_RUN": "run-1"}
    (repository.shared / "result.json").unlink()
    with repository.start("stage", **variables) as process:
        assert process.stdout is not None
        next(text for text in process.stdout if line in text)
        # As a container ends: all of it at once, with no time for anything.
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.read()
    assert not (repository.shared / "result.json").exists()
    outcomes = run(repository, params, "train@a", "train@b", "judge")
    assert set(outcomes.values()) <= {"ran", "restored"}
    assert not list((repository.shared / "work").iterdir()), "a clone of the killed try is left"
    result, _ = repository.work("record", CONVOY_PARAMS=params, CONVOY_RUN="run-1")
    assert result["reason"] == "all 4 stages restored from the cache"
