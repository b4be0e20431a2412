"""A run of 100 members is planned, and a member's task costs what it costs among two."""

import pytest
import yaml

from tests.pipelines.conftest import Repository
from tests.pipelines.worker_runs import run

pytestmark = pytest.mark.slow

MEMBERS = 100


def test_a_hundred_members_are_planned_and_one_runs(repository: Repository) -> None:
    models = {f"m{number}": {"c": number} for number in range(MEMBERS)}
    recipe = yaml.safe_dump({"models": models}, sort_keys=False)
    repository.write("conf/recipe/many.yaml", f"# @package _global_\n{recipe}")
    repository.commit()
    result, _ = repository.work("plan", CONVOY_OVERRIDES='["recipe=many"]')
    assert result["reason"].startswith(f"{MEMBERS + 2} of {MEMBERS + 2} stages will run")
    assert [name for name in result["stages"] if "@" in name] == [f"train@{name}" for name in models]
    assert run(repository, result["params"], "first", "train@m99") == {"first": "ran", "train@m99": "ran"}
