"""One command from a finished network to its continuation."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from stages import cli
from stages.common.files import digest, read_json, write_json
from stages.tools import continue_training
from tests.paths import ROOT


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default recipe's params, and a LeNet of three epochs with a checkpoint of the second."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    # The digits' source is in it, and a process that checks networks imports them from its folder.
    (tmp_path / "stages").symlink_to(ROOT / "stages")
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text.replace("epochs: 12", "epochs: 3"), encoding="utf-8")
    folder = tmp_path / "models" / "lenet"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "model.keras").write_bytes(b"weights")
    (folder / "checkpoints" / "epoch-002-val_loss-0.5000.npz").write_bytes(b"checkpoint")
    write_json(folder / "history.json", {"epoch": [1, 2, 3]})
    (folder / "seen.bin").write_bytes(b"images")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def commands(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Holds a file for each time that DVC would have been started: the overrides, a line each."""
    folder = tmp_path_factory.mktemp("commands")
    program = folder / "bin" / "dvc"
    program.parent.mkdir()
    # In place of DVC: the words after -S, which follow the experiment's name.
    each = f'shift 2; while [ $# -gt 1 ]; do shift 2; printf "%s\\n" "$2"; done > {folder}/$$'
    program.write_text(f"#!/bin/sh\n{each}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return folder


def started(commands: Path) -> list[list[str]]:
    return [path.read_text(encoding="utf-8").split() for path in commands.iterdir() if path.is_file()]


@pytest.mark.slow
def test_the_member_is_copied_and_named_beside_the_params_of_the_workspace(
    workspace: Path, commands: Path
) -> None:
    cli.main(continue_training.continue_training, ["lenet", "--epochs", "5", "--learning-rate", "0.001"])
    sha256 = digest(workspace / "models" / "lenet" / "model.keras")
    copy = Path("datasets/continued") / f"lenet-{sha256[:12]}"
    assert (copy / "model.keras").read_bytes() == b"weights"
    assert read_json(copy / "history.json")["epoch"] == [1, 2, 3]
    assert (copy / "seen.bin").read_bytes() == b"images"
    (words,) = started(commands)
    assert words == [
        "recipe=digits",
        "models.minivggnet.train.epochs=3",
        f"models.lenet.start_from={{member:'{copy}',sha256:'{sha256}'}}",
        "models.lenet.train.epochs=5",
        "models.lenet.train.steps=null",
        "models.lenet.optimizer.learning_rate=0.001",
        "models.lenet.optimizer.schedule=constant",
    ]


@pytest.mark.slow
def test_a_checkpoint_is_found_by_its_epoch(workspace: Path, commands: Path) -> None:
    cli.main(continue_training.continue_training, ["lenet", "--epochs", "5", "--from-epoch", "2"])
    (words,) = started(commands)
    (origin,) = [word for word in words if "start_from" in word]
    path = Path(origin.split("'")[1])
    assert origin.startswith("models.lenet.start_from={checkpoint:'datasets/continued/lenet-")
    assert path.name == "epoch-002-val_loss-0.5000.npz"
    assert path.read_bytes() == b"checkpoint"
    assert path.with_name("seen.bin").read_bytes() == b"images"


def test_what_dvc_would_wait_for_is_named(
    workspace: Path, commands: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(workspace / "pipe.png")
    source = ["ingest.source.kind=folder", f"ingest.source.path={workspace}"]
    options = [word for change in source for word in ("--set", change)]
    with pytest.raises(SystemExit):
        cli.main(continue_training.continue_training, ["lenet", "--epochs", "5", *options])
    assert "DVC cannot read" in capsys.readouterr().err
    assert not started(commands)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["hog_logistic", "--epochs", "5"],
            "params.yaml is of the recipe digits, which has: lenet, minivggnet",
        ),
        (["lenet", "--epochs", "5", "--from-epoch", "3"], "epoch 3; it has: epoch-002-val_loss-0.5000.npz"),
        (["minivggnet", "--epochs", "5"], "model.keras does not exist; run the pipeline first"),
        (
            ["lenet", "--epochs", "5", "--set", "models.lenet.train.epoch=3"],
            "the recipe digits has no such key",
        ),
    ],
)
def test_a_mistake_is_one_line(
    workspace: Path,
    commands: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit):
        cli.main(continue_training.continue_training, words)
    assert message in capsys.readouterr().err
    assert not started(commands)
    assert not Path("datasets/continued").exists()


@pytest.mark.slow
def test_a_member_of_another_run_is_continued(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A member of a commit, whose params and outputs the workspace no longer has."""
    (workspace / "dvc.yaml").write_text(
        """
stages:
  train:
    cmd: mkdir -p models/lenet && cp rate models/lenet/model.keras && cp epochs models/lenet/history.json
    deps: [rate, epochs]
    outs: [models/lenet]
""",
        encoding="utf-8",
    )
    write_json(workspace / "epochs", {"epoch": [1]})
    shutil.rmtree(workspace / "models")
    for words in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(words, check=True)
    for rate in ("fast", "slow"):
        (workspace / "rate").write_text(rate, encoding="utf-8")
        subprocess.run(["dvc", "repro", "-q"], check=True)
        subprocess.run(["git", "add", "."], check=True)
        author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *author, "commit", "-qm", rate], check=True)
        subprocess.run(["git", "tag", rate], check=True)

    with continue_training._folder("lenet", "fast") as folder:
        assert (folder / "model.keras").read_text(encoding="utf-8") == "fast"
        assert read_json(folder / "history.json") == {"epoch": [1]}
    for run in ("medium", "--help"):
        with pytest.raises(SystemExit):
            cli.main(continue_training.continue_training, ["lenet", "--epochs", "5", f"--run={run}"])
        error = capsys.readouterr().err
        assert f"run {run} has no models/lenet in DVC's cache: " in error
        assert error.count("\n") == 1
