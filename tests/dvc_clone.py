"""A clone of this repository in which tests run DVC."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from pipelines.worker.clone import overlay
from pipelines.worker.run_lock import LOCK
from stages.tools.running.checking import _OUTPUTS
from tests.paths import ROOT

# The default recipe with one network.
TINY = ["~models.minivggnet", "ensemble.members=[lenet,hog_logistic]"]


def clone_working_tree(target: Path) -> None:
    """Clone this project, and commit the working tree's changes on a branch `main`, without its dvc.lock."""
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "clone", "--quiet", str(ROOT), str(target)], check=True)
    overlay(target, ROOT)
    # It tells of outputs that the clone does not have.
    (target / LOCK).unlink(missing_ok=True)
    for words in (
        ["checkout", "--quiet", "-B", "main"],
        ["add", "--all"],
        ["commit", "--quiet", "--allow-empty", "-m", "As tested"],
    ):
        subprocess.run([*git, *words], cwd=target, check=True)


class Clone:
    """A clone of this repository with the working tree's files, and DVC in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        clone_working_tree(root)
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "PYTHON"))
        }
        tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = inherited | {"PATH": tools, "DVC_NO_ANALYTICS": "1"}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """`dvc WORDS` in a process group of its own, both its outputs in one pipe."""
        return subprocess.Popen(
            ["dvc", *words],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def dvc(self, *words: str, fails: bool = False) -> str:
        """What `dvc WORDS` says."""
        with self.start(*words) as process:
            output, _ = process.communicate(timeout=300)
        assert (process.returncode != 0) == fails, output
        return output

    def stages(self) -> list[str]:
        """The names of all stages, as DVC writes `foreach` out."""
        return self.dvc("stage", "list", "--name-only").split()

    def experiment(self, *overrides: str) -> list[str]:
        """The stages that `dvc exp run -S …` runs, in their order."""
        options = [word for override in (*TINY, *overrides) for word in ("-S", override)]
        return ran(self.dvc("exp", "run", *options))

    def repro(self, *words: str) -> list[str]:
        """The stages that `dvc repro` runs, in their order."""
        return ran(self.dvc("repro", *words))

    def set(self, key: str, value: Any) -> None:
        """Change one of the params."""
        path = self.root / "params.yaml"
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        *parents, last = key.split(".")
        inside = values
        for parent in parents:
            inside = inside[parent]
        inside[last] = value
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")

    def git(self, *words: str) -> str:
        """What `git WORDS` says."""
        return subprocess.check_output(["git", *words], cwd=self.root, text=True)

    def json(self, path: str) -> Any:
        return json.loads((self.root / path).read_text(encoding="utf-8"))

    def half_written(self) -> list[Path]:
        return [path for folder in _OUTPUTS for path in (self.root / folder).rglob(".*.part")]


def ran(output: str) -> list[str]:
    return re.findall(r"^Running stage '(.+)':$", output, re.MULTILINE)
