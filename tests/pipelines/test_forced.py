"""A stage that is forced runs although nothing changed, and its new result is what later tasks restore."""

import json

import pytest

from tests.pipelines.conftest import Repository
from tests.pipelines.worker_runs import STAGES, planned, run

pytestmark = pytest.mark.slow


def outputs(repository: Repository, *names: str) -> list[str]:
    """What the experiment of the newest run has in files, by their paths."""
    repository.dvc("exp", "apply", "again")
    return [json.loads((repository.root / name).read_text(encoding="utf-8"))["time"] for name in names]


def test_a_forced_stage_runs_and_what_depends_on_it(repository: Repository) -> None:
    work = (repository.root / "work.py").read_text(encoding="utf-8")
    repository.write("work.py", work.replace("**values}", '"time": time.time_ns()}'))
    repository.write(".dvc/config.local", f"[cache]\n    dir = {repository.shared / 'cache'}\n")
    repository.commit()
    params, _ = planned(repository)
    run(repository, params, *STAGES, name="again")
    repository.work("record", CONVOY_PARAMS=params, CONVOY_RUN="again")
    files = ["out/first.json", "out/train/a.json", "out/train/b.json", "out/judge.json"]
    before = outputs(repository, *files)

    result, output = repository.work("plan", CONVOY_FORCED='["train@a"]', CONVOY_RUN="again")
    running = {name: stage["reason"] for name, stage in result["stages"].items() if stage["runs"]}
    assert running == {"train@a": "forced (ran before with the same code, params and inputs)"}
    assert result["reason"].startswith("1 of 4 stages will run")
    assert "train@a  will run" in output
    repository.variables["CONVOY_RUN"] = "again"
    forced, _ = repository.work(
        "stage", CONVOY_STAGE="train@a", CONVOY_PARAMS=params, CONVOY_FORCED='["train@a"]'
    )
    assert (forced["outcome"], forced["reason"]) == ("ran", "")
    outcomes = run(repository, params, "train@b", "judge", name="again")
    assert outcomes == {"train@b": "restored", "judge": "ran"}
    repository.work("record", CONVOY_PARAMS=params, CONVOY_RUN="again")
    after = outputs(repository, *files)
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True, False]


def test_an_earlier_result_that_comes_again_is_the_one_that_is_restored(repository: Repository) -> None:
    # The environment is no dependency: the run cache has two results of the same inputs.
    work = (repository.root / "work.py").read_text(encoding="utf-8")
    repository.write("work.py", work.replace("**values}", '**values, "greeting": greeting}'))
    repository.commit()
    params, _ = planned(repository)
    run(repository, params, "first")
    for greeting in ("other", "none"):
        variables = {"CONVOY_STAGE": "first", "CONVOY_PARAMS": params, "CONVOY_FORCED": '["first"]'}
        result, _ = repository.work("stage", GREETING=greeting, **variables)
    (folder,) = (repository.shared / "cache" / "runs").glob("*/*")
    other, newest = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    digest = result["outputs"]["out/first.json"]["digest"]
    assert digest in newest.read_text(encoding="utf-8"), "DVC restores the newest"
    assert digest not in other.read_text(encoding="utf-8")


def test_what_cannot_be_forced_is_refused(repository: Repository) -> None:
    result, _ = repository.work("plan", status=2, CONVOY_FORCED='["train@c"]')
    assert result["reason"] == (
        "the run has no stage train@c to force; it has first, train@a, train@b, judge"
    )
