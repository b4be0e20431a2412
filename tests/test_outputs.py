"""No command replaces a file that another program wrote: every output, with the real command."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from apps.captcha.generate import generate
from apps.captcha.label import label
from stages import cli
from stages.tools.compare import compare
from tests.graph import declared
from tests.paths import ROOT
from tests.project import write_images

pytestmark = pytest.mark.slow


def digests(path: Path) -> dict[str, str]:
    """Every file at a path, with its digest."""
    paths = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in paths}


def occupy(path: Path) -> None:
    """Put a person's work where an output belongs: a text under the name of a file, a folder of files."""
    if path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("A thesis\n")
        return
    (path / "photos").mkdir(parents=True)
    (path / "photos" / "only_copy.jpg").write_bytes(b"\xff\xd8\xff")
    (path / "train.h5").write_text("A thesis\n")


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def check_refused(command: Any, words: list[str], output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a command whose output's place is occupied: it must fail in one line and leave that as it was."""
    occupy(output)
    before = digests(output)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        cli.main(command, words)
    assert stopped.value.code == 1, "permanent: a retry cannot help"
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "level=error" in line]
    assert "is kept" in line
    assert str(output) in line
    assert digests(output) == before
    remove(output)


def small_params(source: Path) -> dict[str, Any]:
    """The default recipe with a member that fits in a second, on images of a folder."""
    values: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values["ingest"] |= {
        "source": {"kind": "folder", "path": str(source)},
        "near_duplicates": {"distance": None},
    }
    values["extractors"] = {"pixels": {"kind": "pixels"}}
    member = values["models"]["hog_logistic"] | {"input": "features/pixels", "c": [1.0]}
    values |= {"models": {"linear": member}, "book": {}}
    values["ensemble"] |= {"members": ["linear"]}
    return values


def test_every_stage_keeps_what_it_did_not_write(
    tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    params = small_params(write_images(tmp_path / "source", {"cat": 20, "dog": 20, "panda": 20}))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for stage in stages.values():
        for key, item in params[stage["foreach"].strip("${}")].items() if "foreach" in stage else [("", {})]:
            filled = declared(stage.get("do", stage), params | {"key": key, "item": item})
            words = [
                *filled.positionals,
                *(word for name, path in filled.options.items() for word in (f"--{name}", path)),
            ]
            for out in filled.outs:
                check_refused(filled.stage, words, Path(out), capsys)
            cli.main(filled.stage, words)
            # What it wrote itself, it replaces.
            cli.main(filled.stage, words)
            assert all(Path(out).exists() for out in filled.outs)
    check_refused(compare, ["--recipe", "digits", "--page", "page.html"], Path("page.html"), capsys)


@pytest.fixture
def captchas(tmp_path: Path) -> Path:
    generate(to=tmp_path / "captchas", count=3)
    return tmp_path / "captchas"


def test_generated_captchas_do_not_replace_other_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused(generate, ["--to", str(tmp_path / "home"), "--count", "2"], tmp_path / "home", capsys)


def test_labelled_digits_do_not_replace_other_files(
    captchas: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sorted(captchas.iterdir())[0]
    output = tmp_path / "digits" / first.name[1] / f"{first.stem}-1.png"
    check_refused(label, [str(captchas), "--to", str(tmp_path / "digits")], output, capsys)


def test_generated_captchas_do_not_replace_a_person_s(
    captchas: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (captchas / "4821-00007.png").write_bytes(b"mine")
    with pytest.raises(SystemExit):
        cli.main(generate, ["--to", str(captchas)])
    assert "4821-00007.png, which this command does not write" in capsys.readouterr().err
    assert len(list(captchas.iterdir())) == 4
