"""Runs of the tiny pipeline by the worker alone, without Airflow."""

import json

from tests.pipelines.conftest import Repository

STAGES = ["first", "train@a", "train@b", "judge"]


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
