"""A pipeline of seconds, in a repository of its own, and the worker started on it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import coverage
import psutil
import pytest

from tests.paths import ROOT

AIRFLOW_PYTHON = ROOT / ".venv-airflow" / "bin" / "python"
FILES = {
    "dvc.yaml": """
stages:
  first:
    cmd: python work.py first.json
    deps: [work.py]
    params: [base]
    outs: [out/first.json]
  train:
    foreach: ${models}
    do:
      cmd: python work.py train/${key}.json ${key}
      deps: [out/first.json, work.py]
      params: ["models.${key}"]
      outs: ["out/train/${key}.json"]
  judge:
    cmd: python work.py judge.json
    deps: [out/train]
    params: [models]
    metrics: [out/judge.json]
""",
    "work.py": """
import json, os, pathlib, sys, time, yaml
params = yaml.safe_load(pathlib.Path("params.yaml").read_text())
name, member = sys.argv[1], (sys.argv[2:] or [None])[0]
greeting = os.environ.get("GREETING", "none")
print(f"time=x level=info stage=work event=started greeting={greeting} config=small", flush=True)
values = params["models"][member] if member else {}
log = os.environ.get("WORK_LOG")
if log:
    with open(log, "a") as file:
        file.write(f"{time.monotonic()} start {name}\\n")
path = pathlib.Path("out") / name
path.parent.mkdir(parents=True, exist_ok=True)
if values.get("crashes"):
    path.write_text("half")
    os.abort()
if status := values.get("fails"):
    path.write_text("half")
    print('time=x level=error stage=work event="the member is set to \\\\"fail\\\\""', file=sys.stderr)
    if int(status) < 0:
        os.kill(os.getpid(), -int(status))
    sys.exit(int(status))
if values.get("waits"):
    folder = pathlib.Path(os.environ["CONVOY_CHECKPOINTS"])
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "half").exists():
        values = {**values, "resumed": True}
    else:
        (folder / "half").touch()
        os.makedirs(".tracking", exist_ok=True)
        pathlib.Path(".tracking/unsent").touch()
        print("waiting", os.getpid(), flush=True)
        time.sleep(values["waits"])
time.sleep(values.get("seconds", 0))
path.write_text(json.dumps({"base": params["base"], **values}))
if log:
    with open(log, "a") as file:
        file.write(f"{time.monotonic()} end {name}\\n")
""",
    "conf/config.yaml": """
defaults: [_self_, {recipe: small}]
base: 1
""",
    "conf/recipe/small.yaml": """
# @package _global_
# Two members.
models:
  a: {train: {epochs: 2}}
  b: {c: 1}
""",
    "conf/recipe/large.yaml": """
# @package _global_
# Three members.
models:
  a: {train: {epochs: 2}}
  b: {c: 1}
  d: {train: {epochs: 5}}
""",
    "stages/__init__.py": "",
    "stages/tools/check.py": """
import sys, yaml
base = yaml.safe_load(open("params.yaml"))["base"]
if base < 0:
    event = f'"params.yaml: base is {base}; must be positive"'
    sys.exit(f"time=x level=error stage=check event={event}")
""",
    ".gitignore": "/out/\n__pycache__\n",
    ".dvc/config": "[core]\n    analytics = false\n",
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    "params.yaml": "base: 1\nmodels:\n  a:\n    train:\n      epochs: 2\n  b:\n    c: 1\n",
}
GIT = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"]


def measured_python() -> list[str]:
    """The words that start this Python in the repository's root, under coverage where the tests are.

    coverage's own `patch = subprocess` would measure every process below as well: DVC and the stages that it
    starts, whose code other tests measure.
    """
    return [sys.executable, *(["-m", "coverage", "run"] if coverage.Coverage.current() else [])]


@dataclass
class Repository:
    """The tiny repository, and the folders that tasks share."""

    root: Path
    shared: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.shared / "state"

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"), encoding="utf-8")

    def commit(self) -> str:
        """Commit everything; return the commit."""
        self.git("add", "-A")
        self.git("commit", "-qm", "As tested", "--allow-empty")
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *words: str) -> str:
        return subprocess.run(
            [*GIT, *words], cwd=self.root, check=True, capture_output=True, text=True
        ).stdout

    def dvc(self, *words: str) -> str:
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        return subprocess.run(
            ["dvc", *words], cwd=self.root, env=environment, check=True, capture_output=True, text=True
        ).stdout

    def environment(self, action: str, **variables: str) -> dict[str, str]:
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "CONVOY_"))
        }
        return {
            **inherited,
            "CONVOY_ACTION": action,
            "CONVOY_REPOSITORY": str(self.root),
            "CONVOY_RESULT": str(self.shared / "result.json"),
            "CONVOY_CACHE": str(self.shared / "cache"),
            "CONVOY_STATE": str(self.state),
            "CONVOY_WORK": str(self.shared / "work"),
            **self.variables,
            **variables,
        }

    def start(self, action: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*measured_python(), "-m", "pipelines.worker"],
            cwd=ROOT,
            env=self.environment(action, **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def work(self, action: str, *, status: int = 0, **variables: str) -> tuple[dict[str, Any], str]:
        """Run the worker to its end; return its result and what it said."""
        with self.start(action, **variables) as process:
            output, _ = process.communicate(timeout=120)
        assert process.returncode == status, output
        assert not list((self.shared / "work").glob("*")), "a clone was left behind"
        return json.loads((self.shared / "result.json").read_text(encoding="utf-8")), output


def make(folder: Path) -> Repository:
    repository = Repository(folder / "origin", folder / "shared")
    for name, text in FILES.items():
        repository.write(name, text)
    repository.git("init", "-q", "-b", "main")
    repository.git("config", "user.name", "A")
    repository.git("config", "user.email", "a@example.org")
    repository.commit()
    return repository


def add_airflow(repository: Repository) -> None:
    """Add Airflow's part of this project to the tiny repository, which ignores what `make airflow` writes."""
    shutil.copytree(ROOT / "pipelines", repository.root / "pipelines")
    repository.write(".gitignore", "/out/\n__pycache__\n/.convoy/\n/local.log\n/mlflow.db\n/mlartifacts/\n")
    repository.commit()


def has_ended(process: int) -> bool:
    """Whether a process runs no more. A container's first process may leave its orphans zombies for good."""
    try:
        return bool(psutil.Process(process).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="session")
def airflow_environment() -> None:
    """Skip without Airflow's environment."""
    if not AIRFLOW_PYTHON.exists():
        pytest.skip("Airflow is not installed; `make e2e-airflow` does it")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository of this test's own; nothing has run in it."""
    return make(tmp_path)
