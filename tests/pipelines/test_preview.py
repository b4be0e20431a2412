"""`make plan` says what would run and why, for the working tree as it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.worker import preview
from pipelines.worker.clone import overlay
from tests.paths import ROOT
from tests.pipelines.conftest import Repository

WAITING_CHECK = """
import os, pathlib
if folder := os.environ.get("WAITS"):
    pathlib.Path(folder, "started").write_text("")
    pathlib.Path(folder, "ends").read_text()
"""


@pytest.mark.slow
def test_the_plan_is_of_the_working_tree_with_its_uncommitted_changes(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.dvc("repro", "--quiet")
    repository.write("params.yaml", "base: 1\nmodels:\n  a:\n    train:\n      epochs: 3\n  b:\n    c: 1\n")
    # Staged, which `git ls-files --modified` does not list.
    repository.git("add", "params.yaml")
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


@pytest.mark.slow
def test_the_plan_of_other_params(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.dvc("repro", "--quiet")
    monkeypatch.chdir(repository.root)
    monkeypatch.setattr(sys, "argv", ["preview", "--set", "models.a.train.epochs=5"])
    assert preview.main() == 0
    assert "models.a.train.epochs" in capsys.readouterr().out
    mistakes = {
        "base='1": "No closing quotation",
        "no_such=1": "no_such",
        "base=[1, 2]": "'base=[1,' is not KEY=VALUE; no blanks around =",
        "recipe=bad": "error: conf/: while parsing",
    }
    repository.write("conf/recipe/bad.yaml", "models: [\n")
    for words, message in mistakes.items():
        monkeypatch.setattr(sys, "argv", ["preview", "--set", words])
        assert preview.main() == 1
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_plan_shows_no_secret_of_an_address(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.dvc("repro", "--quiet")
    address = "https://me:hunter2@example.com/a.zip?X-Amz-Signature=hunter2"
    repository.write("params.yaml", f"base: {address}\nmodels:\n  a: {{}}\n")
    monkeypatch.chdir(repository.root)
    monkeypatch.setattr(sys, "argv", ["preview"])
    repository.write("stages/tools/check.py", "")
    assert preview.main() == 0
    table = capsys.readouterr().out
    assert 'base 1 → "https://example.com/a.zip?X-Amz-Signature=***"' in table
    assert "hunter2" not in table
    event = f'time=x level=error stage=check event="{address} is no address"'
    repository.write("stages/tools/check.py", f"import sys\nsys.exit({event!r})\n")
    assert preview.main() == 1
    assert capsys.readouterr().err == "error: https://example.com/a.zip?X-Amz-Signature=*** is no address\n"


def test_a_clone_gets_what_the_index_adds_moves_and_deletes(repository: Repository, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", ".", str(clone))
    repository.write("new.py", "new = 1\n")
    repository.git("add", "new.py")
    repository.git("mv", "work.py", "moved.py")
    repository.git("rm", "--quiet", "conf/recipe/large.yaml")
    overlay(clone, repository.root)
    files, expected = (
        {str(path.relative_to(root)) for path in root.rglob("*.[py]*") if path.is_file()}
        for root in (clone, repository.root)
    )
    assert files == expected
    assert "moved.py" in files


@pytest.mark.slow
def test_two_plans_at_once_do_not_meet(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started, ends = tmp_path / "started", tmp_path / "ends"
    for pipe in (started, ends):
        os.mkfifo(pipe)
    repository.write("stages/tools/check.py", WAITING_CHECK)
    words = [sys.executable, "-m", "pipelines.worker.preview"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WAITS": str(tmp_path)}
    with subprocess.Popen(words, cwd=repository.root, env=environment) as first:
        started.read_text(encoding="utf-8")
        monkeypatch.chdir(repository.root)
        monkeypatch.setattr(sys, "argv", ["preview"])
        assert preview.main() == 0
        ends.write_text("", encoding="utf-8")
    assert first.returncode == 0
