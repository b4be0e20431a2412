"""promote: a process that is killed around the move of the alias."""

import os
import signal
import subprocess
import sys

import pytest
import yaml
from mlflow import MlflowClient

from stages.serving.registry import Registry
from tests.paths import ROOT
from tests.workshop import PARAMS, RULES, Workshop, champion, tags

pytestmark = pytest.mark.slow

# The stage, which is killed just before or just after it moves the alias.
KILLED = """
import os, signal, sys
from mlflow import MlflowClient
from stages import cli
from stages.promote import promote
moment, *words = sys.argv[1:]
move = MlflowClient.set_registered_model_alias
def killed(*values):
    if moment == "after":
        move(*values)
    os.kill(os.getpid(), signal.SIGKILL)
MlflowClient.set_registered_model_alias = killed
cli.main(promote, words)
"""


def promote_and_kill(workshop: Workshop, moment: str) -> None:
    """Promote in a process that is killed `before` or `after` it moves the alias."""
    member = PARAMS["models"]["hog_logistic"] | {"input": "features/pixels"}
    changed = {
        "recipe": "shop",
        "promote": RULES,
        "models": {"only": member},
        "extractors": {"pixels": {"kind": "pixels"}},
        "ensemble": PARAMS["ensemble"] | {"members": ["only"]},
    }
    values = PARAMS | changed
    values["ingest"] = values["ingest"] | {"source": {"kind": "folder", "path": str(workshop.project.source)}}
    (workshop.root / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    words = [word for option, path in workshop.paths().items() for word in (f"--{option}", str(path))]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, moment, *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_process_killed_around_the_move_of_the_alias_loses_no_report(
    workshop: Workshop, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alias once moved first: a kill left a champion without a report."""
    workshop.make(c=1.0)
    promote_and_kill(workshop, moment)
    assert workshop.verdict()["decision"] == "promoted"
    assert "Every rule holds" in workshop.page()
    if moment == "before":
        assert MlflowClient().get_registered_model("shop").aliases == {}
    # Seconds that the killed holder of the lease is waited for.
    monkeypatch.setattr(Registry.__init__, "__defaults__", (2.0,))
    again = workshop.promote()
    assert champion() == "1"
    assert again["decision"] == ("promoted" if moment == "before" else "unchanged")
    assert again["decisions"] == (2 if moment == "before" else 1)
    assert tags("1")["promotion"].startswith(again["decision"])
    version = MlflowClient().get_model_version("shop", "1")
    assert "Verdict: every rule holds, and there was no champion" in str(version.description)
    run = MlflowClient().get_run(version.run_id)
    assert run.info.status == "KILLED"
    logged = {file.path for file in MlflowClient().list_artifacts(run.info.run_id)}
    assert {"promotion.json", "promotion.html"} <= logged
