import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.docker.conftest import ROOT, build, docker

DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
# What apt waits for, and how often it tries again.
APT_CONF = ROOT / "docker" / "apt.conf"


def _output(image: str, *words: str, options: tuple[str, ...] = ()) -> str:
    done = subprocess.run(
        ["docker", "run", "--rm", *options, image, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _inspected(image: str) -> dict[str, Any]:
    done = subprocess.run(["docker", "image", "inspect", image], capture_output=True, text=True, check=True)
    inspected: dict[str, Any] = json.loads(done.stdout)[0]
    return inspected


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    done = subprocess.run(["hadolint", "--no-color", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "path", [*DOCKERFILES, ROOT / "tests" / "docker" / "postgres.Dockerfile"], ids=lambda path: path.stem
)
def test_each_apt_of_a_build_gives_up_a_mirror_that_stalls(path: Path) -> None:
    instructions = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    runs = [line for line in instructions if line.startswith("RUN") and "apt-get" in line]
    mount = "RUN --mount=source=docker/apt.conf,target=/etc/apt/apt.conf.d/network.conf "
    assert runs
    assert [
        line for line in runs if not re.match(rf"{re.escape(mount)} *timeout 600 apt-get update ", line)
    ] == []


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_each_copy_from_the_checkout_sets_its_modes(path: Path) -> None:
    copies = re.findall(r"^COPY (?!--from=).*", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert copies
    assert [line for line in copies if not line.startswith("COPY --chmod=755 ")] == []


@pytest.mark.parametrize("name", [".ci/run", "docker/base.sh", "docker/cluster/build.sh"])
def test_each_apt_of_a_script_gives_up_a_mirror_that_stalls(name: str) -> None:
    """Besides the words of messages, and the check that there is an apt."""
    lines = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    commands = re.compile(r"(?<!Debian: )apt-get (-|install|update)|^mmdebstrap")
    script = "\n".join(lines)
    exported = "export APT_CONFIG\n" in script and "/apt.conf" in script
    calls = [line for line in lines if commands.search(line) and not line.startswith(("#", "["))]
    assert calls
    assert [line for line in calls if "apt.conf" not in line and not exported] == []
    updates = [line for line in lines if re.search(r"(apt-get|\}\") update", line) and line[0] not in "#["]
    assert [line for line in updates if "timeout 600 " not in line] == []


@pytest.mark.skipif(shutil.which("apt-config") is None, reason="apt is not installed")
def test_apt_reads_what_it_is_told() -> None:
    environment = os.environ | {"APT_CONFIG": str(APT_CONF)}
    done = subprocess.run(["apt-config", "dump"], env=environment, capture_output=True, text=True, check=True)
    settings = dict(line.rstrip(";").split(" ", 1) for line in done.stdout.splitlines())
    for key in ("Acquire::http::Timeout", "Acquire::https::Timeout", "Acquire::Retries"):
        assert settings[key] in ('"20"', '"3"')


@pytest.mark.slow
def test_a_stage_runs_as_nobody_in_particular(image: str) -> None:
    assert _output(image, "id", "-u").strip() == "1000"
    other = ("--user", "4321:4321", "--read-only", "--tmpfs", "/tmp")
    assert "Usage: python -m stages.ingest" in _output(
        image, "python", "-m", "stages.ingest", "--help", options=other
    )


@pytest.mark.slow
def test_the_data_image_has_what_its_stages_import_and_no_tensorflow(image: str) -> None:
    names = "cv2, dvc.cli, h5py, matplotlib, mlflow, numpy, pandas, pyarrow.parquet, scipy, sklearn"
    assert _output(image, "python", "-c", f"import {names}") == ""
    spec = _output(image, "python", "-c", "import importlib.util as u; print(u.find_spec('tensorflow'))")
    assert spec.strip() == "None"


@pytest.mark.slow
def test_the_train_images_draw_the_diagram_of_a_network(base_image: None) -> None:
    system = build("train-system", ROOT, "convoy/train-system:test")
    options = ["--rm", "--interactive", "--user=1000", "--read-only", "--network=none"]
    drawn = subprocess.run(
        ["docker", "run", *options, system, "dot", "-Tpng"],
        input=b"digraph { conv -> relu }",
        capture_output=True,
        check=True,
    )
    assert drawn.stdout.startswith(b"\x89PNG")
    # Without a font, dot draws boxes in place of letters, and says so.
    assert drawn.stderr == b""
    train = (ROOT / "docker" / "stage.Dockerfile").read_text(encoding="utf-8")
    for target in ("train", "train-jax", "train-gpu"):
        assert f"FROM train-system AS {target}\n" in train


@pytest.mark.slow
def test_the_image_says_which_commit_it_was_built_from(image: str) -> None:
    labelled = build("data", ROOT, "convoy/data:label", "--build-arg", "COMMIT=0123abc")
    labels = _inspected(labelled)["Config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == "0123abc"
    assert _inspected(labelled)["RootFS"] == _inspected(image)["RootFS"], "a new commit alone made new layers"


@pytest.mark.slow
def test_an_edit_of_the_code_makes_one_new_layer(image: str, tmp_path: Path) -> None:
    for name in ("stages", "pipelines", "requirements", "docker"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".dockerignore", tmp_path)
    with (tmp_path / "stages" / "ingest.py").open("a", encoding="utf-8") as file:
        file.write("# edited\n")
    edited = build("data", tmp_path, "convoy/data:edited")
    before, after = (_inspected(name)["RootFS"]["Layers"] for name in (image, edited))
    assert before[:-1] == after[:-1]
    assert before[-1] != after[-1]
    assert "# edited" in _output(edited, "cat", "stages/ingest.py")


@pytest.mark.slow
def test_everyone_can_read_the_code_of_a_checkout_under_umask_077(engine: None, tmp_path: Path) -> None:
    context = tmp_path / "context"
    (context / "stages" / "data").mkdir(parents=True)
    (context / "pipelines").mkdir()
    (context / "docker").mkdir()
    shutil.copy(ROOT / "docker" / "stage.Dockerfile", context / "docker")
    for name in ("stages/ingest.py", "stages/data/cache.py", "pipelines/worker.py"):
        (context / name).touch()
    subprocess.run(["chmod", "--recursive", "go=", str(context)], check=True)
    container = docker("create", build("code", context, "convoy/code:test"), "nothing")
    try:
        docker("cp", f"{container}:/", str(tmp_path / "code"))
    finally:
        docker("rm", container)
    files = [path for name in ("stages", "pipelines") for path in (tmp_path / "code" / name).rglob("*")]
    assert len(files) == 4
    assert {path.stat().st_mode & 0o777 for path in files} == {0o755}


@pytest.mark.slow
def test_images_and_secrets_of_the_workspace_stay_out(image: str) -> None:
    assert _output(image, "ls", "-A").split() == ["pipelines", "stages"]
