"""The commands that make a run again give the params of that run."""

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from stages.report.pages import commands

CONF = Path(__file__).parents[2] / "conf"


def composed(*overrides: str) -> Any:
    with initialize_config_dir(str(CONF), version_base=None):
        return OmegaConf.to_container(compose("config", list(overrides)), resolve=True)


def command(tmp_path: Path, values: Any, recipe: str = "digits") -> str:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return commands.reproduce(recipe, tmp_path / "params.yaml", CONF)[-1]


def test_a_recipe_as_it_stands_needs_its_name_alone(tmp_path: Path) -> None:
    assert command(tmp_path, composed("recipe=digits")) == "dvc exp run -S recipe=digits"
    assert command(tmp_path, composed("recipe=flowers17"), "flowers17") == "dvc exp run -S recipe=flowers17"


@pytest.mark.parametrize(
    ("file", "differs"),
    [("conf/recipe/mine.yaml", True), ("stages/models/networks/mine.py", True), ("notes.txt", False)],
)
def test_a_file_that_git_does_not_know_differs_from_the_commit_where_it_is_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, *, differs: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "Start"], check=True)
    assert not commands.uncommitted()
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    assert commands.uncommitted() == differs


def test_a_recipe_that_is_not_there_leaves_the_params(tmp_path: Path) -> None:
    assert command(tmp_path, composed(), "nobodys") == "dvc repro"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("models.lenet.train.epochs", 3),
        ("models.lenet.optimizer.learning_rate", 1e-05),
        ("audit.drift.reference", "datasets/my accepted (old).json"),
        ("audit.drift.reference", "it's null"),
        ("audit.drift.reference", "null"),
        ("audit.drift.reference", "12"),
        ("models.lenet.augment", None),
        ("models.lenet.train.balanced", True),
        ("ensemble.members", ["lenet", "hog_logistic"]),
        ("ensemble.weights", {"lenet": 2, "hog_logistic": 0.5}),
        (
            "book.figures",
            [{"of": "lenet", "metric": "accuracy", "value": 0.9, "source": "Bundle ch. 4 (VGG16), p. 3"}],
        ),
        ("extractors", {}),
        ("models.lenet.fresh", {"deep": [1, "a b"]}),
    ],
)
def test_the_options_bring_back_any_value(tmp_path: Path, key: str, value: Any) -> None:
    """Hydra itself reads them, as `dvc exp run -S` has it do."""
    values = composed("recipe=digits")
    *path, last = key.split(".")
    inside = values
    for part in path:
        inside = inside[part]
    inside[last] = value
    options = shlex.split(command(tmp_path, values))[3:]
    assert options[::2] == ["-S"] * (len(options) // 2)
    assert composed(*options[1::2]) == values
