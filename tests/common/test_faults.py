"""Stages killed at any moment and disks that fill up: a rerun gives what an undisturbed run gives."""

import multiprocessing
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from stages.extract import extract
from stages.models.extractors import pixels
from tests.paths import ROOT
from tests.project import Images, Project, visible, write_images

KILLS = 50


def resize(project: Project) -> None:
    project.resize(size=[64, 64])


def pack(project: Project) -> None:
    project.pack()


def features(project: Project) -> None:
    params = pixels.Params(kind="pixels")
    extract("pixels", params=params, packed=project.packed, features=project.root / "features")


@pytest.mark.slow
@pytest.mark.parametrize("stage", [resize, pack, features], ids=["resize", "pack", "extract"])
def test_fifty_kills_leave_no_trace(stage: Callable[[Project], None], tmp_path: Path) -> None:
    project = Project(tmp_path / "project", write_images(tmp_path / "source", {"cat": 250, "dog": 250}))
    project.ingest()
    project.resize(size=[64, 64])
    project.mean()
    project.pack()
    features(project)
    undisturbed = visible(project)
    # A server that has imported the stages forks children at once, so that kills hit the work, not imports.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "stages.resize", "stages.pack", "stages.extract"])
    draw = random.Random(1)
    for _ in range(KILLS):
        child = context.Process(target=stage, args=(project,))
        child.start()
        child.join(timeout=draw.uniform(0, 0.25))
        child.kill()
        child.join()
        # Whatever is there under its own name is complete and right.
        assert undisturbed.items() >= visible(project).items()
    stage(project)
    assert visible(project) == undisturbed


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(
    images: Images, project: Project, small_disk: Path
) -> None:
    images({"cat": 40, "dog": 40})
    project.ingest()
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["resize"]["size"] = [128, 128]
    values["ingest"]["source"] = {"kind": "folder", "path": str(project.source)}
    (project.root / "params.yaml").write_text(yaml.safe_dump(values))
    command = [sys.executable, "-m", "stages.resize", "--params", str(project.root / "params.yaml")]
    paths = {"manifest": project.manifest, "blob": project.blob}
    for name, path in (paths | {"resized": small_disk / "resized.h5"}).items():
        command += [f"--{name}", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 75, "EX_TEMPFAIL: a retry may find room"
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr
    assert list(small_disk.iterdir()) == []
