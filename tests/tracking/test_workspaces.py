"""Runs of DVC's temporary workspaces are in the project's own store when the workspace is gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.tracking import server
from tests.paths import ROOT

# Tracks a run with an artifact and registers a model version, as train and promote do.
STAGE = """
from pathlib import Path
from stages import tracking

with tracking.run("temporary", "net", {"stage": "train@net"}, keep=Path("out")) as run:
    Path("out").mkdir()
    run.text("made here", "note.txt")
    with tracking.connected() as client:
        client.create_registered_model("net")
"""
DVC_YAML = """
stages:
  train:
    cmd: python stage.py
    params: [epochs]
    outs: [out]
"""


def git(root: Path, *words: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *words], cwd=root, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    files = {"stage.py": STAGE, "dvc.yaml": DVC_YAML, "params.yaml": "epochs: 1\n"}
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    git(root, "init", "-q")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=root, check=True, env=environment())
    ignored = "/mlflow.db\n/mlruns/\n/.tracking/\n/out\n"
    (root / ".gitignore").write_text(ignored, encoding="utf-8")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "First")
    return root


def environment() -> dict[str, str]:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "CONVOY_"))
    }
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return environment | {"PATH": tools, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}


@pytest.mark.slow
def test_an_experiment_in_a_temporary_workspace_is_tracked_in_the_project(project: Path) -> None:
    words = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "-n", "mine", "-S", "epochs=2"]
    done = subprocess.run(words, cwd=project, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    workspaces = project / ".dvc" / "tmp" / "exps"
    assert not list(workspaces.rglob("mlflow.db"))

    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("temporary")
    (run,) = client.search_runs([experiment.experiment_id], "tags.stage = 'train@net'")
    assert run.info.status == "FINISHED"
    # Composed by DVC for a param, which is no change of the code.
    assert run.data.tags["git.dirty"] == "false"
    file = client.download_artifacts(run.info.run_id, "note.txt", str(project.parent))
    assert Path(file).read_text(encoding="utf-8") == "made here"
    assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(project / "mlruns")
    assert client.get_registered_model("net").name == "net"
    assert list((project / ".tracking").iterdir()) == []


def test_the_project_of_a_worktree_is_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    repository = tmp_path / "repository"
    (repository / "within").mkdir(parents=True)
    (repository / "within" / "file").touch()
    git(repository, "init", "-q")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "First")
    git(repository, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"))
    for folder, project in {
        repository: repository,
        tmp_path / "tree": repository,
        tmp_path / "tree" / "within": repository / "within",
        tmp_path: tmp_path,
    }.items():
        monkeypatch.chdir(folder)
        assert server.project_root() == project
        assert server.address() == f"sqlite:///{project}/mlflow.db"


def test_dvc_names_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own.db")
    assert server.address() == f"sqlite:///{tmp_path}/own.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert server.address() == "http://host:5000"
