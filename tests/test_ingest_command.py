"""ingest from the command line: what is said of a user's mistakes, and what is made."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from stages import cli
from stages.ingest import ingest
from tests.project import Images, Project

Prepare = Callable[[Project, Images], None]


def run(project: Project, **changed: object) -> None:
    """The stage as the command line runs it, on the committed params with another source."""
    params = yaml.safe_load(Path("params.yaml").read_bytes())
    params["ingest"] |= {"source": {"kind": "folder", "path": str(project.source)}} | changed
    path = project.root / "params.yaml"
    path.write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
    options = {
        name: str(getattr(project, name))
        for name in ("manifest", "classes", "rejects", "near_duplicates", "blob")
    }
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    cli.main(ingest, ["--params", str(path), *words])


def missing(project: Project, images: Images) -> None:
    pass


def only_one_class(project: Project, images: Images) -> None:
    images({"cat": 5})


def one_image(project: Project, images: Images) -> None:
    images({"cat": 5, "dog": 1})


def no_images(project: Project, images: Images) -> None:
    source = images()
    for path in source.rglob("*.png"):
        path.write_text("none")


def a_file_with_a_line_break_in_its_name(project: Project, images: Images) -> None:
    (images() / "cat" / "two\nlines.png").touch()


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (missing, "does not exist; put a folder of images there or name another"),
        (only_one_class, "at least 2 classes"),
        (one_image, "'dog' has 1"),
        (no_images, "20 of 20 files cannot be used"),
        (a_file_with_a_line_break_in_its_name, "lines.png"),
    ],
)
def test_a_users_mistake_is_one_line_on_stderr(
    project: Project, images: Images, capsys: pytest.CaptureFixture[str], prepare: Prepare, expected: str
) -> None:
    prepare(project, images)
    with pytest.raises(SystemExit) as stop:
        run(project, max_reject_fraction=0.0)
    assert stop.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert expected in lines[0]


def test_the_command_line_makes_what_the_function_makes(
    project: Project, images: Images, capsys: pytest.CaptureFixture[str]
) -> None:
    images()
    run(project)
    assert "ingested_images" in capsys.readouterr().err
    assert pq.read_metadata(project.manifest).num_rows == 20
