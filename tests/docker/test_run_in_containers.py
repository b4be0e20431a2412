"""A whole run in the stages' containers, one task after another, beside the same run without containers."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.graph import load
from tests.docker.conftest import ROOT, build

OVERRIDES = ["recipe=digits", "models.*.train.epochs=1"]
DETERMINISTIC = ("ingest", "audit", "resize", "mean", "pack", "extract")
# After one epoch; weights differ in their last bits from one build of the libraries to another.
TOLERANCE = 0.01


class Tasks:
    """Runs tasks as a container runner does: a worker per task, one folder that they share."""

    def __init__(self, root: Path, images: dict[str, str]) -> None:
        self.images = images
        self.repository = root / "repository"
        self.shared = root / "shared"
        self.shared.mkdir()
        _git(root, "clone", "--quiet", str(ROOT), str(self.repository))
        _git(self.repository, "checkout", "--quiet", "-B", "main")

    def __call__(self, image: str, action: str, **asked: str) -> tuple[int, dict[str, Any], str]:
        """Returns the exit status, the result and what was said."""
        result = self.shared / "result.json"
        result.unlink(missing_ok=True)
        variables = {
            "CONVOY_ACTION": action,
            "CONVOY_REPOSITORY": "/repository",
            "CONVOY_RESULT": "/shared/result.json",
            "CONVOY_RUN": "containers",
            "CONVOY_CACHE": "/shared/cache",
            "CONVOY_STATE": "/shared/state",
            "CONVOY_WORK": "/shared/work",
            "MLFLOW_TRACKING_URI": "sqlite:////shared/mlflow.db",
            **asked,
        }
        words = ["docker", "run", "--rm", "--user", f"{os.getuid()}:{os.getgid()}"]
        words += [f"--volume={self.repository}:/repository", f"--volume={self.shared}:/shared"]
        words += [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
        done = subprocess.run([*words, self.images[image]], capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        return done.returncode, json.loads(result.read_text("utf-8")) if result.exists() else {}, said


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_containers_make_what_the_workspace_makes(image: str, tmp_path: Path) -> None:
    tasks = Tasks(tmp_path, {"data": image, "train": build("train", ROOT, "convoy/train:test")})
    status, plan, said = tasks("data", "plan", CONVOY_OVERRIDES=json.dumps(OVERRIDES))
    assert status == 0, said
    graph = load(ROOT / "dvc.yaml")
    assert all(planned["runs"] for planned in plan["stages"].values())

    metrics: dict[str, Any] = {}
    for address in plan["stages"]:
        image_name = graph[address.partition("@")[0]].settings.image
        status, result, said = tasks(image_name, "stage", CONVOY_STAGE=address, CONVOY_PARAMS=plan["params"])
        assert (status, result.get("outcome")) == (0, "ran"), f"{address}: {said}"
        metrics |= result["metrics"]
    status, result, said = tasks("data", "record", CONVOY_PARAMS=plan["params"])
    assert (status, result.get("outcome")) == (0, "recorded"), said

    status, result, said = tasks("data", "stage", CONVOY_STAGE="pack", CONVOY_PARAMS=plan["params"])
    assert (status, result["outcome"]) == (99, "restored"), said

    local = tmp_path / "local"
    _git(tmp_path, "clone", "--quiet", str(ROOT), str(local))
    (local / "params.yaml").write_text(plan["params"], encoding="utf-8")
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/local.db"}
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet"], cwd=local, env=environment, check=True)

    experiment = _git(
        tasks.repository, "for-each-ref", "--format=%(refname)", "refs/exps/**/containers"
    ).strip()
    in_containers = yaml.safe_load(_git(tasks.repository, "show", f"{experiment}:dvc.lock"))["stages"]
    here = yaml.safe_load((local / "dvc.lock").read_text("utf-8"))["stages"]
    assert in_containers.keys() == here.keys()
    for address in (one for one in here if one.partition("@")[0] in DETERMINISTIC):
        assert _digests(in_containers[address]) == _digests(here[address]), address
    ours = json.loads((local / "reports" / "metrics.json").read_text("utf-8"))
    assert metrics.keys() == ours.keys()
    for name, scores in ours.items():
        assert metrics[name]["accuracy"] == pytest.approx(scores["accuracy"], abs=TOLERANCE), name


def _digests(stage: dict[str, Any]) -> dict[str, str]:
    return {out["path"]: out["md5"] for out in stage["outs"]}
