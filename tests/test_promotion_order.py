"""The graph of dvc.yaml under DVC, with commands that only write files.

A failed evaluation stops promote, and a newly accepted profile is audited again.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.graph import load
from tests.paths import ROOT

pytestmark = pytest.mark.slow

STUB = "import pathlib, sys\nfor name in sys.argv[1:]:\n    pathlib.Path(name).write_text('made')\n"


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """The stages after `ensemble`, with all that the others make in place."""
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    (tmp_path / "stub.py").write_text(STUB, encoding="utf-8")
    stages, outputs = {}, set()
    for name in ("evaluate", "promote", "summarize"):
        stage = declared[name]
        outs = [*stage["outs"], *stage.get("metrics", [])]
        # Without code, which makes no order.
        deps = [dep for dep in stage["deps"] if not dep.startswith(("stages/", "${"))]
        command = f"{sys.executable} stub.py {' '.join(outs)}"
        stages[name] = {"cmd": command, "deps": deps, "outs": outs}
        outputs |= set(outs)
    for dep in {dep for stage in stages.values() for dep in stage["deps"]} - outputs - {"params.yaml"}:
        (tmp_path / dep).parent.mkdir(parents=True, exist_ok=True)
        if not (tmp_path / dep).exists():
            (tmp_path / dep).write_text("input", encoding="utf-8")
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    run(tmp_path, "init", "-q", "--no-scm")
    return tmp_path


def run(folder: Path, *words: str) -> int:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    dvc = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(dvc, cwd=folder, env=environment, capture_output=True, check=False).returncode


def test_a_failed_evaluation_promotes_nothing(graph: Path) -> None:
    declared = yaml.safe_load((graph / "dvc.yaml").read_text(encoding="utf-8"))
    good = declared["stages"]["evaluate"]["cmd"]
    declared["stages"]["evaluate"]["cmd"] = f"{sys.executable} -c 'raise SystemExit(1)'"
    (graph / "dvc.yaml").write_text(yaml.safe_dump(declared), encoding="utf-8")
    # Even where every stage that does not depend on the failed one goes on.
    assert run(graph, "repro", "--keep-going") != 0
    assert not (graph / "reports" / "promotion.json").exists()
    declared["stages"]["evaluate"]["cmd"] = good
    (graph / "dvc.yaml").write_text(yaml.safe_dump(declared), encoding="utf-8")
    assert run(graph, "repro") == 0
    assert (graph / "reports" / "promotion.json").exists()


def test_airflow_starts_promote_after_evaluate() -> None:
    assert {"evaluate", "audit"} <= load(ROOT / "dvc.yaml")["promote"].upstream


def test_a_newly_accepted_profile_is_compared_with_at_once(tmp_path: Path) -> None:
    """The profile was no dependency: the verdict stayed as it was until something else changed."""
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["audit"]
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["audit"]["drift"]["reference"] = "accepted.json"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (tmp_path / "stub.py").write_text(STUB, encoding="utf-8")
    (accepted := tmp_path / "accepted.json").write_text("one", encoding="utf-8")
    deps = [dep for dep in declared["deps"] if "audit.drift" in dep]
    stage = {"cmd": f"{sys.executable} stub.py drift.json", "deps": deps, "outs": ["drift.json"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"audit": stage}}), encoding="utf-8")
    run(tmp_path, "init", "-q", "--no-scm")
    assert run(tmp_path, "repro") == 0
    before = (tmp_path / "dvc.lock").read_bytes()
    assert run(tmp_path, "repro") == 0
    assert (tmp_path / "dvc.lock").read_bytes() == before
    accepted.write_text("another", encoding="utf-8")
    assert run(tmp_path, "repro") == 0
    assert (tmp_path / "dvc.lock").read_bytes() != before
