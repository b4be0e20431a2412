"""check: what DVC cannot read is named before DVC starts."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from stages import cli
from stages.tools.check import check
from tests.project import Images


def run(source: Path) -> None:
    params = yaml.safe_load(Path("params.yaml").read_bytes())
    params["ingest"]["source"] = {"kind": "folder", "path": str(source)}
    file = source.parent / "params.yaml"
    file.write_text(yaml.safe_dump(params), encoding="utf-8")
    cli.main(check, ["--params", str(file)])


def test_a_training_to_continue_that_is_not_there_is_named(
    images: Images, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only `train` said so, after the stages before it."""
    source = images()
    params = yaml.safe_load(Path("params.yaml").read_bytes())
    params["ingest"]["source"] = {"kind": "folder", "path": str(source)}
    params["models"]["lenet"]["start_from"] = {"member": "datasets/continued/lenet"}
    file = source.parent / "params.yaml"
    file.write_text(yaml.safe_dump(params), encoding="utf-8")
    with pytest.raises(SystemExit):
        cli.main(check, ["--params", str(file)])
    (line,) = capsys.readouterr().err.splitlines()
    assert "models.lenet.start_from.member: datasets/continued/lenet/model.keras does not exist" in line


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")


def broken_link(folder: Path) -> None:
    (folder / "link.png").symlink_to("nowhere.png")


def latin_1(folder: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("names are text on this system")
    (folder / os.fsdecode(b"H\xfcndchen.png")).touch()


def hidden_pipe(folder: Path) -> None:
    (folder / ".cache").mkdir()
    os.mkfifo(folder / ".cache" / "pipe")


def unreadable(folder: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (folder / "000.png").chmod(0)


def dvcignore(folder: Path) -> None:
    (folder / ".dvcignore").touch()


def device(folder: Path) -> None:
    (folder / "zeros.png").symlink_to("/dev/zero")


def deep(folder: Path) -> None:
    for _ in range(300):
        folder /= "d"
        folder.mkdir()


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (pipe, "a pipe, socket or device: 'cat/pipe.png'"),
        (broken_link, "a broken link (No such file or directory): 'cat/link.png'"),
        (latin_1, "a name that is not UTF-8: 'cat/H"),
        (hidden_pipe, "a pipe, socket or device: 'cat/.cache/pipe'"),
        (device, "a pipe, socket or device: 'cat/zeros.png'"),
        (dvcignore, "a file that DVC does not allow inside of data: 'cat/.dvcignore'"),
        (unreadable, "without the permission to read it: 'cat/000.png'"),
        (deep, "folders in more than 256 others: 'cat/d/d"),
    ],
)
def test_what_dvc_cannot_read_is_named(
    images: Images, capsys: pytest.CaptureFixture[str], prepare: Callable[[Path], None], reason: str
) -> None:
    source = images()
    prepare(source / "cat")
    with pytest.raises(SystemExit) as stop:
        run(source)
    assert stop.value.code not in (0, None)
    (line,) = capsys.readouterr().err.splitlines()
    assert "DVC cannot read" in line
    assert reason in line.replace('\\"', '"')
    assert "pack the folder into an archive" in line


@pytest.mark.parametrize("kind", ["pipe", "broken link", "looping link"])
def test_a_source_that_is_no_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    source = tmp_path / "images.zip"
    if kind == "pipe":
        os.mkfifo(source)
    else:
        source.symlink_to("nowhere" if kind == "broken link" else source.name)
    with pytest.raises(SystemExit) as stop:
        run(source)
    assert stop.value.code == 1
    kind = kind.replace("looping", "broken")
    assert f"DVC cannot read {source}: a {kind}" in capsys.readouterr().err


def test_a_source_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`make preview` and `make sweep` ended with an error of DVC's."""
    with pytest.raises(SystemExit) as stop:
        run(tmp_path / "images")
    assert stop.value.code == 1
    line = f"ingest.source.path: {tmp_path / 'images'} does not exist; put the images there, or name others"
    assert line in capsys.readouterr().err


def test_a_reference_profile_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """`audit` failed with the path alone, and so did each run after it."""
    with pytest.raises(SystemExit):
        cli.main(check, ["recipe=digits", "audit.drift.reference=accepted.json"])
    line = (
        "audit.drift.reference: accepted.json does not exist; make accept-data writes datasets/accepted.json"
    )
    assert line in capsys.readouterr().err


def test_too_few_files_of_a_class_are_named(images: Images, capsys: pytest.CaptureFixture[str]) -> None:
    """Under Airflow and in `make reproduce`, `ingest` or `train` named them."""
    with pytest.raises(SystemExit) as stop:
        run(images({"cat": 12, "dog": 4}))
    assert stop.value.code == 1
    assert "each class needs 5 images or more, so that 3 are left to train on" in capsys.readouterr().err


def test_a_recipe_is_checked_as_dvc_composes_it(
    images: Images, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = images()
    words = ["recipe=digits", f"ingest.source.path={source}", "ingest.source.kind=folder"]
    cli.main(check, words)
    pipe(source / "cat")
    with pytest.raises(SystemExit):
        cli.main(check, words)
    assert "DVC cannot read" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(check, ["recipe=digts"])
    (line,) = capsys.readouterr().err.splitlines()
    assert "digts" in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"seed:\n\t- 3", 'mine.yaml", line 2, column 1'),
        (b"seed: 3\nseed: 4", "found duplicate key seed"),
        (b"# f\xfcr Hunde", "can't decode byte 0xfc"),
        (b"seed: ${split", "no viable alternative at input"),
    ],
)
def test_a_recipe_that_is_no_yaml_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes, message: str
) -> None:
    shutil.copytree("conf", tmp_path / "conf")
    (tmp_path / "conf" / "recipe" / "mine.yaml").write_bytes(text)
    with pytest.raises(SystemExit) as stop:
        cli.main(check, ["recipe=mine", "--conf", str(tmp_path / "conf")])
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line.replace('\\"', '"')


def test_images_that_make_clean_would_remove(
    images: Images, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = images(root=tmp_path / "data" / "images")
    run(source)
    shutil.copyfile("params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        run(source)
    assert f"{source} is in data/, which the pipeline writes" in capsys.readouterr().err


def test_a_folder_that_dvc_reads_passes(images: Images, capsys: pytest.CaptureFixture[str]) -> None:
    source = images()
    (source / "cat" / "linked.png").symlink_to("000.png")
    run(source)
    assert "checked_params" in capsys.readouterr().err
