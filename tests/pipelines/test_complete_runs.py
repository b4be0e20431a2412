"""A complete run is planned without DVC, as long as its data, its outputs and its record exist unchanged.

In the order of the file, as the recorded run is shared, and the later tests damage it.
"""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.worker import complete_runs
from pipelines.worker.job import Job, read
from tests.pipelines.conftest import Repository, make
from tests.pipelines.worker_runs import STAGES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository with images outside of git, in which a run has been recorded."""
    repository = make(tmp_path_factory.mktemp("complete"))
    images = repository.shared / "data" / "images"
    images.mkdir(parents=True)
    (images / "1.png").write_text("one")
    repository.variables["CONVOY_DATA"] = str(images.parent)
    graph = (repository.root / "dvc.yaml").read_text(encoding="utf-8")
    repository.write("dvc.yaml", graph.replace("deps: [work.py]", "deps: [work.py, datasets/images]"))
    repository.commit()
    params = repository.work("plan")[0]["params"]
    for stage in STAGES:
        repository.work("stage", CONVOY_STAGE=stage, CONVOY_PARAMS=params)
    repository.work("record", CONVOY_PARAMS=params, CONVOY_RUN="run-1")
    return repository


def runs(plan: Mapping[str, Any]) -> list[str]:
    return [name for name, stage in plan["stages"].items() if stage["runs"]]


def test_changed_images_are_noticed(complete: Repository) -> None:
    images = complete.shared / "data" / "images"
    (images / "2.png").write_text("two")
    plan, _ = complete.work("plan")
    assert plan["stages"]["first"]["reason"] == "datasets/images modified"
    (images / "2.png").unlink()
    # DVC finds the content unchanged; from then on the new times of the folder are those to compare with.
    assert complete.work("plan")[0]["recorded"] is None
    wait_for_old_times(images)
    complete.work("plan")
    assert complete.work("plan")[0]["recorded"]["experiment"] == "run-1"


def wait_for_old_times(folder: Path) -> None:
    """Until a change of the folder is older than the next plan, by more than clocks differ."""
    while time.time() - folder.stat().st_ctime < 2.5:
        time.sleep(0.1)


def test_a_recorded_run_is_planned_without_dvc(complete: Repository) -> None:
    # Without it, DVC says that every stage has to run.
    shutil.rmtree(complete.shared / "cache" / "runs")
    plan, _ = complete.work("plan")
    assert plan["reason"] == "nothing to do: all 4 stages are cached"
    assert list(plan["stages"]) == STAGES
    assert plan["recorded"]["experiment"] == "run-1"

    complete.dvc("exp", "remove", "run-1")
    assert complete.work("plan")[0]["recorded"] is None, "a person has deleted the experiment"
    plan, _ = complete.work("plan", CONVOY_OVERRIDES='["base=2"]')
    assert runs(plan) == STAGES, "other params"


def test_a_missing_output_is_noticed(complete: Repository) -> None:
    cache = complete.shared / "cache" / "files" / "md5"
    for path in cache.glob("*/*"):
        if "base" in path.read_text(encoding="utf-8"):
            path.chmod(0o600)
            path.unlink()
    assert "first" in runs(complete.work("plan")[0])


def test_a_run_whose_images_changed_meanwhile_is_not_saved(tmp_path: Path, repository: Repository) -> None:
    images = tmp_path / "images"
    images.mkdir()
    lock = {
        "stages": {"first": {"deps": [{"path": str(images)}], "outs": [{"path": "out", "md5": "0" * 32}]}}
    }
    repository.write("dvc.lock", yaml.safe_dump(lock))
    job: Job = replace(
        read({"CONVOY_ACTION": "plan", "CONVOY_REPOSITORY": "x"}), state=tmp_path, cache=tmp_path / "cache"
    )
    output = tmp_path / "cache" / "files" / "md5" / "00" / ("0" * 30)
    output.parent.mkdir(parents=True)
    output.touch()
    for since, expected in ((time.time() - 60, False), (time.time() + 60, True)):
        complete_runs.save(job, repository.root, "commit", "params", ["first"], since=since)
        assert bool(complete_runs.load(job, repository.root, "commit", "params")) is expected
    saved = json.loads(next((tmp_path / "plans").iterdir()).read_text(encoding="utf-8"))
    assert list(saved["inputs"]) == [str(images)]
