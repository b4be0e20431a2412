"""The worker's contract: from the plan to the record, by the cache or a remote, at any commit."""

import os
from pathlib import Path

import pytest
import yaml

from pipelines.worker import lines
from tests.pipelines.conftest import Repository
from tests.pipelines.worker_runs import STAGES, planned, run

pytestmark = pytest.mark.slow


def test_an_override_of_a_member_wins_over_one_for_all(repository: Repository) -> None:
    params, _ = planned(repository, "recipe=large", "models.a.train.epochs=1", "models.*.train.epochs=2")
    epochs = {
        name: model["train"]["epochs"]
        for name, model in yaml.safe_load(params)["models"].items()
        if "train" in model
    }
    assert epochs == {"a": 1, "d": 2}


def test_a_run_from_plan_to_record_and_again(repository: Repository) -> None:
    params, reasons = planned(repository, "models.*.train.epochs=7", "base=3")
    # Only a has epochs; the pattern leaves b as it is.
    assert yaml.safe_load(params) == {"base": 3, "models": {"a": {"train": {"epochs": 7}}, "b": {"c": 1}}}
    assert reasons == dict.fromkeys(STAGES, "has not run before")

    assert run(repository, params, *STAGES) == dict.fromkeys(STAGES, "ran")
    result, _ = repository.work("stage", CONVOY_STAGE="judge", CONVOY_PARAMS=params, status=99)
    assert result["reason"] == "ran before with the same code, params and inputs"

    # As on a machine where git has no name and address for commits.
    nobody = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(repository.shared)}
    variables = {"CONVOY_PARAMS": params, "CONVOY_RUN": "run-1", "CONVOY_RUN_URL": "http://a"}
    result, _ = repository.work("record", **variables, **nobody)
    assert result["reason"] == "all 4 stages restored from the cache"
    assert repository.dvc("exp", "list", "--name-only").split() == ["run-1"]
    commit = repository.git("for-each-ref", "--format=%(objectname)", "refs/exps/??/*/*").strip()
    assert "http://a" in repository.git("show", "-s", "--format=%B", commit)
    assert yaml.safe_load(repository.git("show", f"{commit}:params.yaml"))["base"] == 3

    # Nothing changed: nothing to do. Then a param, a new member, the code.
    assert planned(repository, "models.*.train.epochs=7", "base=3") == (params, {})
    _, reasons = planned(repository, "models.*.train.epochs=8", "base=3")
    assert reasons == {"train@a": "models.a.train.epochs 7 → 8", "judge": reasons["judge"]}
    assert "out/train" in reasons["judge"]
    _, reasons = planned(repository, "recipe=large", "models.a.train.epochs=7", "base=3")
    assert reasons["train@d"] == "has not run before"
    assert set(reasons) == {"train@d", "judge"}
    repository.write("work.py", repository.root.joinpath("work.py").read_text() + "# edited\n")
    assert planned(repository, "models.*.train.epochs=7", "base=3")[1] == {}, (
        "not committed, not part of a run"
    )
    repository.commit()
    _, reasons = planned(repository, "models.*.train.epochs=7", "base=3")
    assert reasons["first"] == "work.py modified"


def test_a_lock_of_another_machine_is_no_reason_to_run_a_stage_twice(repository: Repository) -> None:
    repository.dvc("repro")
    lock = yaml.safe_load((repository.root / "dvc.lock").read_text(encoding="utf-8"))
    # As of a training there: same inputs, other weights.
    lock["stages"]["train@a"]["outs"][0]["md5"] = "0" * 32
    repository.write("dvc.lock", yaml.safe_dump(lock))
    repository.commit()
    params, reasons = planned(repository)
    assert set(reasons) == set(STAGES), "nothing of it is in the cache"
    assert run(repository, params, "first", "train@a", "train@b") == dict.fromkeys(STAGES[:3], "ran")
    result, _ = repository.work("stage", CONVOY_STAGE="judge", CONVOY_PARAMS=params, CONVOY_RUN="run-1")
    assert result["reason"] == "", "each had run once"
    result, _ = repository.work("record", CONVOY_PARAMS=params, CONVOY_RUN="run-1")
    assert result["reason"] == "all 4 stages restored from the cache"


def test_a_stage_reports_what_it_took(repository: Repository) -> None:
    params, _ = planned(repository)
    run(repository, params, "first", "train@a", "train@b")
    result, output = repository.work(
        "stage",
        CONVOY_STAGE="judge",
        CONVOY_PARAMS=params,
        CONVOY_RUN="run-1",
        CONVOY_MESSAGES='["started"]',
        GREETING="hello",
    )
    assert result["outcome"] == "ran"
    assert result["metrics"] == {"base": 1}
    assert 5 < result["peak_memory_mb"] < 500
    assert 0 < result["seconds"] < 60
    assert "event=started greeting=hello" in output
    assert result["events"] == [{"event": "started", "greeting": "hello", "config": "small"}]
    # The next plan knows how long that took.
    repository.write(
        "dvc.yaml", (repository.root / "dvc.yaml").read_text().replace("judge.json\n", "judge.json x\n", 1)
    )
    repository.commit()
    result, output = repository.work("plan")
    assert result["stages"]["judge"]["seconds"] > 0
    assert "1 of 4 stages will run" in output


def test_inputs_that_the_cache_lacks_are_made(repository: Repository) -> None:
    params, _ = planned(repository)
    result, _ = repository.work("stage", CONVOY_STAGE="train@a", CONVOY_PARAMS=params)
    assert (result["outcome"], result["reason"]) == ("ran", "with first, which the cache lacked")


def test_a_run_that_is_not_complete_is_not_recorded(repository: Repository) -> None:
    params, _ = planned(repository)
    run(repository, params, "first", "train@a")
    result, _ = repository.work("record", CONVOY_PARAMS=params, CONVOY_RUN="run-1", status=1)
    assert result["reason"] == "the run is not complete; the cache lacks train@b"
    assert repository.git("for-each-ref", "refs/exps") == ""


def test_a_branch_that_is_not_the_repositorys_default_is_checked_out(repository: Repository) -> None:
    repository.git("checkout", "-q", "-b", "feature/deep")
    text = (repository.root / "conf" / "config.yaml").read_text(encoding="utf-8")
    repository.write("conf/config.yaml", text.replace("base: 1", "base: 5"))
    commit = repository.commit()
    repository.git("tag", "-a", "v1", "-m", "a tag")
    repository.git("checkout", "-q", "main")
    for name in ("feature/deep", "v1", commit):
        result, _ = repository.work("plan", CONVOY_COMMIT=name)
        assert (result["commit"], yaml.safe_load(result["params"])["base"]) == (commit, 5), name
    result, _ = repository.work("plan", CONVOY_COMMIT="main")
    assert yaml.safe_load(result["params"])["base"] == 1


def test_the_result_can_be_the_last_lines_of_the_output(repository: Repository) -> None:
    with repository.start("plan", CONVOY_RESULT="-") as process:
        output, _ = process.communicate(timeout=120)
    result = lines.Result()
    seen = [result.sees(line) for line in output.splitlines()]
    assert result.value is not None
    assert result.value["outcome"] == "planned"
    assert seen == sorted(seen)


def test_a_remote_stands_in_for_the_shared_cache(repository: Repository, tmp_path: Path) -> None:
    repository.write(
        ".dvc/config", f"[core]\n    analytics = false\n['remote \"far\"']\n    url = {tmp_path}/far\n"
    )
    repository.commit()
    repository.variables = {"CONVOY_CACHE": "", "CONVOY_REMOTE": "far"}
    params, _ = planned(repository)
    assert run(repository, params, *STAGES) == dict.fromkeys(STAGES, "ran")
    assert run(repository, params, *STAGES) == dict.fromkeys(STAGES, "restored")
    assert planned(repository)[1] == {}
    repository.work("record", CONVOY_PARAMS=params, CONVOY_RUN="run-1")


def test_images_that_git_does_not_know_are_there(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "images" / "cats").mkdir(parents=True)
    (tmp_path / "images" / "cats" / "1.png").write_bytes(b"1")
    (tmp_path / "images" / "cats" / "2.png").write_bytes(b"2")
    text = (repository.root / "dvc.yaml").read_text()
    repository.write("dvc.yaml", text.replace("deps: [work.py]", "deps: [work.py, datasets/cats]", 1))
    repository.commit()
    repository.variables = {"CONVOY_DATA": str(tmp_path / "images")}
    params, _ = planned(repository)
    assert run(repository, params, *STAGES) == dict.fromkeys(STAGES, "ran")
    repository.work("record", CONVOY_PARAMS=params, CONVOY_RUN="run-1")
    (tmp_path / "images" / "cats" / "2.png").write_bytes(b"3")
    assert planned(repository)[1]["first"] == "datasets/cats modified"
