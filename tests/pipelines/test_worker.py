"""The worker's contract: actions, exit statuses, result file, and what a stopped one leaves behind."""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from tests.pipelines.conftest import Repository, has_ended

pytestmark = pytest.mark.slow

ALL = ["first", "train@a", "train@b", "judge"]


def planned(repository: Repository, *overrides: str) -> tuple[str, dict[str, str]]:
    """The composed params, and the reason of each stage that will run."""
    result, _ = repository.work("plan", CONVOY_OVERRIDES=json.dumps(overrides))
    return result["params"], {
        name: stage["reason"] for name, stage in result["stages"].items() if stage["runs"]
    }


def run(repository: Repository, params: str, *stages: str, name: str = "run-1") -> dict[str, str]:
    """The outcome of each stage."""
    outcomes = {}
    for stage in stages:
        with repository.start("stage", CONVOY_STAGE=stage, CONVOY_PARAMS=params, CONVOY_RUN=name) as process:
            output, _ = process.communicate(timeout=120)
        assert process.returncode in (0, 99), output
        result = json.loads((repository.shared / "result.json").read_text(encoding="utf-8"))
        assert (process.returncode == 99) == (result["outcome"] == "restored")
        outcomes[stage] = result["outcome"]
    return outcomes


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
    assert reasons == dict.fromkeys(ALL, "has not run before")

    assert run(repository, params, *ALL) == dict.fromkeys(ALL, "ran")
    result, _ = repository.work("stage", CONVOY_STAGE="judge", CONVOY_PARAMS=params, status=99)
    assert result["reason"] == "ran before with the same code, params and inputs"

    result, _ = repository.work("record", CONVOY_PARAMS=params, CONVOY_RUN="run-1", CONVOY_RUN_URL="http://a")
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
    assert set(reasons) == set(ALL), "nothing of it is in the cache"
    assert run(repository, params, "first", "train@a", "train@b") == dict.fromkeys(ALL[:3], "ran")
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


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["base=-1"], "params.yaml: base is -1; must be positive"),
        (["recipe=smal"], "there is no recipe smal; did you mean small?"),
        (["nonsense=1"], "Could not override 'nonsense'"),
        (["models.*.depth=1"], "models.*.depth=1: these params have no models.*.depth"),
    ],
)
def test_params_that_are_not_allowed_are_refused(
    repository: Repository, overrides: list[str], says: str
) -> None:
    result, output = repository.work("plan", CONVOY_OVERRIDES=json.dumps(overrides), status=2)
    assert result["outcome"] == "refused"
    assert says in result["reason"]
    assert "Traceback" not in output
    assert "\n" not in result["reason"]


def test_an_unknown_commit_is_refused_and_an_unknown_repository_fails(repository: Repository) -> None:
    result, _ = repository.work("plan", CONVOY_COMMIT="0123456", status=2)
    assert "has no commit 0123456" in result["reason"]
    result, _ = repository.work("plan", CONVOY_REPOSITORY=str(repository.root / "none"), status=1)
    assert "does not exist" in result["reason"]
    with repository.start("stage") as process:
        assert process.communicate()[0] == "refused: CONVOY_STAGE is not set\n"
    assert process.returncode == 2
    result = json.loads((repository.shared / "result.json").read_text(encoding="utf-8"))
    assert (result["outcome"], result["reason"]) == ("refused", "CONVOY_STAGE is not set")
    result, _ = repository.work("plan", CONVOY_OVERRIDES="base=1", status=2)
    assert result["reason"] == "CONVOY_OVERRIDES is base=1; must be a JSON list of texts"


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


def test_a_wrong_login_is_refused_and_shown_nowhere(repository: Repository) -> None:
    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://robot:secret-token@127.0.0.1:{server.server_port}/project.git"
        result, output = repository.work("plan", CONVOY_REPOSITORY=url, status=2)
        server.shutdown()
    assert result["outcome"] == "refused"
    assert "Authentication failed" in result["reason"]
    assert "secret-token" not in output + json.dumps(result)


def test_an_unexpected_error_leaves_a_result_with_its_place(repository: Repository) -> None:
    work = (repository.root / "work.py").read_text(encoding="utf-8")
    repository.write("work.py", f'{work}\nif "judge" in name:\n    path.write_text("[1]")\n')
    repository.commit()
    params, _ = planned(repository)
    run(repository, params, "first", "train@a", "train@b")
    result, output = repository.work("stage", CONVOY_STAGE="judge", CONVOY_PARAMS=params, status=1)
    assert result["outcome"] == "failed"
    assert result["reason"].startswith("unexpected ")
    assert "stage.py:" in result["reason"]
    assert result["traceback"].startswith("Traceback (most recent call last)")
    assert result["traceback"] in output


def test_the_result_can_be_the_last_line_of_the_output(repository: Repository) -> None:
    with repository.start("plan", CONVOY_RESULT="-") as process:
        output, _ = process.communicate(timeout=120)
    last = output.splitlines()[-1]
    assert json.loads(last.removeprefix("convoy-result: "))["outcome"] == "planned"


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
    leftover = repository.shared / "work" / "convoy-run-1-train@a-left"
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


def test_a_remote_stands_in_for_the_shared_cache(repository: Repository, tmp_path: Path) -> None:
    repository.write(
        ".dvc/config", f"[core]\n    analytics = false\n['remote \"far\"']\n    url = {tmp_path}/far\n"
    )
    repository.commit()
    repository.variables = {"CONVOY_CACHE": "", "CONVOY_REMOTE": "far"}
    params, _ = planned(repository)
    assert run(repository, params, *ALL) == dict.fromkeys(ALL, "ran")
    assert run(repository, params, *ALL) == dict.fromkeys(ALL, "restored")
    assert planned(repository)[1] == {}
    repository.work("record", CONVOY_PARAMS=params, CONVOY_RUN="run-1")


def test_a_remote_that_takes_no_run_cache_is_refused(repository: Repository) -> None:
    url = "https://example.com/cache"
    repository.write(".dvc/config", f"[core]\n    analytics = false\n['remote \"far\"']\n    url = {url}\n")
    repository.commit()
    for name, says in {"far": "over HTTP", "near": "has no such remote"}.items():
        repository.variables = {"CONVOY_CACHE": "", "CONVOY_REMOTE": name}
        result, _ = repository.work("plan", status=2)
        assert says in result["reason"]


@pytest.mark.parametrize(
    "line", ["Running stage 'train@a'", "waiting", "wrote its output", "Updating lock file"]
)
def test_a_worker_killed_at_any_point_is_followed_by_a_complete_run(
    repository: Repository, line: str
) -> None:
    """After the clone and the cache's inputs, in the fit, before DVC has the outputs, after it has them."""
    work = (repository.root / "work.py").read_text(encoding="utf-8")
    ending = 'if member == "a":\n    print("wrote its output", flush=True)\n'
    repository.write("work.py", f"{work}\n{ending}")
    repository.commit()
    params, _ = planned(repository, "+models.a.waits=1" if line != "waiting" else "+models.a.waits=600")
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


def test_images_that_git_does_not_know_are_there(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "images" / "cats").mkdir(parents=True)
    (tmp_path / "images" / "cats" / "1.png").write_bytes(b"1")
    (tmp_path / "images" / "cats" / "2.png").write_bytes(b"2")
    text = (repository.root / "dvc.yaml").read_text()
    repository.write("dvc.yaml", text.replace("deps: [work.py]", "deps: [work.py, datasets/cats]", 1))
    repository.commit()
    repository.variables = {"CONVOY_DATA": str(tmp_path / "images")}
    params, _ = planned(repository)
    assert run(repository, params, *ALL) == dict.fromkeys(ALL, "ran")
    repository.work("record", CONVOY_PARAMS=params, CONVOY_RUN="run-1")
    (tmp_path / "images" / "cats" / "2.png").write_bytes(b"3")
    assert planned(repository)[1]["first"] == "datasets/cats modified"
