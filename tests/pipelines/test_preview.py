"""`make plan` says what would run and why, for the working tree as it is."""

import sys

import pytest

from pipelines.worker import preview
from tests.pipelines.conftest import Repository


@pytest.mark.slow
def test_the_plan_is_of_the_working_tree_with_its_uncommitted_changes(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.dvc("repro", "--quiet")
    repository.write("params.yaml", "base: 1\nmodels:\n  a:\n    train:\n      epochs: 3\n  b:\n    c: 1\n")
    monkeypatch.chdir(repository.root)
    monkeypatch.setattr(sys, "argv", ["preview"])
    assert preview.main() == 0
    table = capsys.readouterr().out
    assert dict(line.split()[:2] for line in table.splitlines()[:4]) == {
        "first": "cached",
        "train@a": "will",
        "train@b": "cached",
        "judge": "will",
    }, table
    assert "models.a.train.epochs" in table
    repository.write("params.yaml", "base: -1\nmodels:\n  a: {}\n")
    assert preview.main() == 1
    assert capsys.readouterr().err == "error: params.yaml: base is -1; must be positive\n"
