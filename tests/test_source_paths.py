"""Where images come from is a path that a user chose: DVC and the stages take any, and no shell sees it."""

import os
import shutil
import subprocess

import pytest
import yaml

from tests.dvc_clone import Clone
from tests.project import Images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("paths") / "clone")


@pytest.mark.parametrize(
    "name",
    [
        "My images; touch EXECUTED",
        "$(touch EXECUTED) `touch EXECUTED` & 'single' \"double\" | x",
    ],
)
def test_a_source_path_is_never_a_command(clone: Clone, images: Images, name: str) -> None:
    source = images({"cat": 12, "dog": 12}, root=clone.root / "datasets" / name)
    clone.set("ingest.source", {"kind": "folder", "path": f"datasets/{name}"})
    assert sorted(clone.repro("audit", "resize")) == ["audit", "ingest", "resize"]
    assert not list(clone.root.rglob("EXECUTED"))
    shutil.rmtree(source)


def test_a_path_in_the_home_folder_is_refused_in_one_line(clone: Clone) -> None:
    clone.set("ingest.source", {"kind": "folder", "path": "~/images"})
    output = clone.dvc("repro", "ingest", fails=True)
    (line,) = [line for line in output.splitlines() if line.startswith("ERROR") or "level=error" in line]
    assert "~/images" in line
    assert "Traceback" not in output


def test_odd_names_and_links_go_through_dvc(clone: Clone, images: Images) -> None:
    """What DVC cannot read is named before; see tests/tools/test_check.py."""
    source = images({"cat": 12, "dog": 12}, root=clone.root / "datasets" / "odd")
    names = [
        "two\nlines.png",
        'a "quote".png',
        "back\\slash.png",
        " blanks .png",
        "é.png",
        "e\u0301.png",
        "犬.png",
    ]
    for number, name in enumerate(names):
        (source / "cat" / f"{number:03d}.png").rename(source / "cat" / name)
    (source / "cat" / "linked.png").symlink_to(source / "dog" / "000.png")
    (source / "cat" / "up").symlink_to("..")
    clone.set("ingest.source", {"kind": "folder", "path": "datasets/odd"})
    clone.set("ingest.max_reject_fraction", 0.2)
    # A folder that is a link would be a class that is missing.
    assert "datasets/odd/cat/up is a link to a folder" in clone.dvc("repro", "ingest", fails=True)
    (source / "cat" / "up").unlink()
    assert clone.repro("ingest") == ["ingest"]
    rejects = (clone.root / "data" / "rejects.csv").read_text(encoding="utf-8")
    # The link is the same image as one of the other class.
    assert not any(name in rejects for name in names)
    # A new image and a removed link are noticed.
    (source / "cat" / "linked.png").unlink()
    assert clone.repro("ingest") == ["ingest"]
    assert clone.repro("ingest") == []
    shutil.rmtree(source)


@pytest.mark.parametrize("place", ["models", "extractors", "input"])
def test_a_member_is_never_a_command(clone: Clone, place: str) -> None:
    clone.set("ingest.source", {"kind": "digits", "path": "stages/data/sources/digits.py"})
    clone.repro("pack")
    before = (clone.root / "params.yaml").read_bytes()
    values = yaml.safe_load(before)
    hostile = "x'; touch EXECUTED; '"
    if place == "input":
        # A folder of that name, as DVC runs nothing whose dependency is missing.
        shutil.copytree(clone.root / "data" / "packed", clone.root / hostile)
        values["models"]["lenet"]["input"] = hostile
        address = "train@lenet"
    else:
        values[place] |= {hostile: next(iter(values[place].values()))}
        address = f"{'train' if place == 'models' else 'extract'}@{hostile}"
    (clone.root / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    output = clone.dvc("repro", "--single-item", address, fails=True)
    (clone.root / "params.yaml").write_bytes(before)
    assert not list(clone.root.rglob("EXECUTED"))
    assert "params.yaml: " in output


@pytest.mark.parametrize(
    "words",
    [
        ["make", "run"],
        ["make", "run", "DATA={source}"],
        ["make", "preview"],
        ["make", "preview", "RECIPE=piped"],
        ["make", "find-learning-rate", "MEMBER=lenet"],
        ["make", "sweep", "MEMBER=lenet", "RECIPE=piped"],
        ["make", "reproduce", "RECIPES=piped"],
        ["make", "plan"],
        ["make", "plan", "RECIPE=piped"],
    ],
)
def test_every_command_that_starts_dvc_names_what_dvc_would_wait_for(
    clone: Clone, images: Images, words: list[str]
) -> None:
    source = images({"cat": 12, "dog": 12}, root=clone.root / "datasets" / "piped")
    os.mkfifo(source / "cat" / "pipe.png")
    book = yaml.safe_load((clone.root / "conf/recipe/lenet_mnist.yaml").read_bytes())["book"]
    named = {"kind": "folder", "path": str(source)}
    recipe = {"ingest": {"source": named}, "recipe": "piped", "book": book}
    text = "# @package _global_\n" + yaml.safe_dump({"defaults": ["digits", "_self_"]} | recipe)
    (clone.root / "conf" / "recipe" / "piped.yaml").write_text(text, encoding="utf-8")
    clone.set("ingest.source", named)
    installed = [word for name in ("stages", "sweep") for word in ("--old-file", f".venv/{name}.installed")]
    done = subprocess.run(
        [words[0], *installed, *(word.format(source=source) for word in words[1:])],
        cwd=clone.root,
        env=clone.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    shutil.rmtree(source)
    assert done.returncode != 0
    assert "DVC cannot read" in done.stderr, done.stdout + done.stderr
    assert "cat/pipe.png" in done.stderr
    assert "Running stage" not in done.stdout


def test_an_experiment_in_a_temporary_workspace_finds_images_that_git_ignores(
    clone: Clone, images: Images
) -> None:
    source = images({"cat": 12, "dog": 12}, root=clone.root / "datasets" / "ignored")
    relative = ["-S", "ingest.source.kind=folder", "-S", "ingest.source.path=datasets/ignored"]
    # DVC says so before any stage runs; docs/images.md names the two ways out.
    output = clone.dvc("exp", "run", "--temp", *relative, "ingest", fails=True)
    assert "datasets/ignored" in output
    assert "Running stage" not in output
    copied = [*relative, "--copy-paths", "datasets/ignored"]
    assert "Running stage 'ingest'" in clone.dvc("exp", "run", "--temp", *copied, "ingest")
    absolute = ["-S", "ingest.source.kind=folder", "-S", f"ingest.source.path={source}"]
    assert "Running stage 'ingest'" in clone.dvc("exp", "run", "--temp", *absolute, "ingest")
